"""Recorded replies: data only. Every tool call in them is really carried out by the agent."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "tapes"


@dataclass(frozen=True, kw_only=True)
class Tape:
    """Replies to the requests that contain `ask`. Replies to continuations of the same thread
    stand in tapes of their own."""

    ask: str
    replies: tuple[dict[str, Any], ...]  #: `{"content": …, "tool_calls": [{"name", "arguments"}]}`


def load_tapes(folder: Path = FOLDER) -> list[Tape]:
    tapes: list[Tape] = []
    for path in sorted(folder.glob("*.json")):
        recorded = json.loads(path.read_text(encoding="utf-8"))
        tapes.append(Tape(ask=recorded["ask"], replies=tuple(recorded["replies"])))
    return tapes


def words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def reply(tapes: Sequence[Tape], messages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the tape answers: the newest user message that a tape knows chooses it, and the number
    of answers given since then is the place on it."""
    given = 0
    for message in reversed(messages):
        if message["role"] == "assistant":
            given += 1
        if message["role"] != "user":
            continue
        said = words(message["content"] or "")
        for tape in tapes:
            if words(tape.ask) in said:
                return tape.replies[min(given, len(tape.replies) - 1)]
    return unknown(tapes)


def unknown(tapes: Sequence[Tape]) -> dict[str, Any]:
    known = "\n".join(f"- {tape.ask}" for tape in tapes)
    text = (
        "I am the playground's scripted model: I can only replay recorded answers, and there is "
        f"none for this request. What I know, on the sample project:\n{known}\n"
        "To have any request done, stop the playground, set OPENAI_API_KEY (and OPENAI_BASE_URL "
        "and JOURNEYMAN_MODEL for another provider), and start it again."
    )
    return {
        "content": None,
        "tool_calls": [
            {"name": "finish", "arguments": {"summary": "No recorded answer.", "answer": text}}
        ],
    }
