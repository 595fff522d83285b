"""What the model answers under chaos: the request itself names the shape of the work.

It is a function of the prompt alone, so that a call which is made again gets the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from road import FINISH, PLAN, run, say

SHAPES = ("edit", "edit", "question", "red", "long", "more", "stop")
FILES = {
    "calc.py": "def add(a, b):\n    return a + b\n",
    "check.sh": "set -e\n! ls broken-* 2>/dev/null\ngrep -q 'return a + b' calc.py\n",
}
_ASKED = re.compile(r"chaos (\w+) (\d+)")
CHOICES = ["Left", "Right"]


def answer(messages: list[dict[str, Any]]) -> dict[str, Any]:
    shape, number = _request(messages)
    said = [message for message in messages if message["role"] == "assistant"]
    ends = [at for at, message in enumerate(said) if _finishes(message)]
    step = len(said) - (ends[-1] + 1 if ends else 0)
    steps = _steps(shape, number, len(ends))
    return steps[min(step, len(steps) - 1)]


def _steps(shape: str, number: int, finished: int) -> Sequence[dict[str, Any]]:
    """`finished`: how often it took the work for done."""
    text = f"{shape} {number}.{finished}\n"
    write = say(("write", {"path": f"notes/{number}-{finished}.txt", "content": text}))
    if finished:
        return [say(run(f"rm -f broken-{number}")), write, FINISH]
    match shape:
        case "question":
            ask = {"question": f"Which way, {number}?", "choices": CHOICES}
            return [say(("ask", ask)), PLAN, write, FINISH]
        case "red":
            broken = say(("write", {"path": f"broken-{number}", "content": text}))
            return [PLAN, broken, FINISH]
        case "long" | "stop":
            return [PLAN, say(run("sleep 4")), write, FINISH]
        case _:
            return [PLAN, write, FINISH]


def _request(messages: list[dict[str, Any]]) -> tuple[str, int]:
    for message in messages:
        if message["role"] == "user" and (found := _ASKED.search(str(message["content"]))):
            return found[1], int(found[2])
    return "edit", 0


def _finishes(message: dict[str, Any]) -> bool:
    calls = message.get("tool_calls") or ()
    return any(call["function"]["name"] == "finish" for call in calls)
