"""When a conversation goes nowhere: pure checks on its newest messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from agent.outputs import MOUNT
from agent.ports import Message

INVALID = "Invalid call: "  #: begins every answer to a call that could not be understood

NUDGE = (
    "Every answer must call a tool. Go on with the work, or call `finish` "
    "when it is done (with `answer` when nothing had to be changed)."
)
NUDGE_CUT = (
    "Your answer was cut at the model's length limit. Say less at a time: "
    "smaller edits, several calls. " + NUDGE
)
NUDGES = frozenset({NUDGE, NUDGE_CUT})
ROW = 3
CIRCLE = 6

#: Differs between two results that say the same: times, and where the whole of it lies.
_PASSING = re.compile(rf"\d+(?:\.\d+)? ?(?:ms|s|seconds)\b|{MOUNT}/[0-9a-f]+")


def stuck(messages: Sequence[Message]) -> str:
    """Why going on makes no sense, as a sentence; empty when it does. Looks only at what came
    after the last word of a person or of the harness."""
    turns = _turns(_since_last_word(messages))
    last = turns[-ROW:]
    if len(last) == ROW and not any(turn.answer.tool_calls for turn in last):
        if not any((turn.answer.content or "").strip() for turn in last):
            return f"The model gave {ROW} empty answers in a row."
        return f"The model answered {ROW} times in a row without calling a tool."
    if len(last) == ROW and all(turn.malformed for turn in last):
        return f"The model made {ROW} tool calls in a row that could not be understood."
    calls = [
        (call.name, call.arguments, _PASSING.sub("", turn.results.get(call.id, "")))
        for turn in turns
        for call in turn.answer.tool_calls
    ]
    if len(calls) >= ROW and len(set(calls[-ROW:])) == 1:
        name = calls[-1][0]
        return f"The model called `{name}` {ROW} times in a row with the same arguments and result."
    circle = calls[-CIRCLE:]
    if len(circle) == CIRCLE and circle[:2] * (CIRCLE // 2) == circle:
        names = f"`{circle[0][0]}` and `{circle[1][0]}`"
        return f"The model went in a circle: {names}, {CIRCLE} calls with the same results."
    return ""


def nudge(messages: Sequence[Message], finish: str) -> str:
    """What to say to an answer that calls no tool; empty when the newest message is none."""
    if not messages or messages[-1].role != "assistant" or messages[-1].tool_calls:
        return ""
    return NUDGE_CUT if finish == "length" else NUDGE


@dataclass(frozen=True, kw_only=True)
class _Turn:
    """One answer and what its calls gave."""

    answer: Message
    results: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def malformed(self) -> bool:
        calls = self.answer.tool_calls
        return bool(calls) and all(self.results.get(c.id, "").startswith(INVALID) for c in calls)


def _turns(messages: Sequence[Message]) -> list[_Turn]:
    turns: list[_Turn] = []
    for message in messages:
        if message.role == "assistant":
            turns.append(_Turn(answer=message))
        elif message.tool_call_id is not None and turns:
            turns[-1].results[message.tool_call_id] = message.content or ""
    return turns


def _since_last_word(messages: Sequence[Message]) -> list[Message]:
    return list(_backwards(messages))[::-1]


def _backwards(messages: Sequence[Message]) -> Iterator[Message]:
    for message in reversed(messages):
        if message.role == "user" and message.content not in NUDGES:
            return
        yield message
