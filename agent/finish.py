"""What the model said when it finished, read again from its own call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from agent.context import Reader, decode_one
from agent.events import ModelAnswered, RunEvent, ToolReturned
from agent.journal import Journal
from agent.ports import Message
from agent.prompt import clean
from agent.tools.base import Finish


def last_finish(messages: Sequence[Message]) -> Finish | None:
    for message in reversed(messages):
        for call in reversed(message.tool_calls):
            if call.name == "finish":
                return finish_of(call.arguments)
    return None


async def finish_in(journal: Journal) -> Finish | None:
    return await newest_finish(journal.events, journal.body)


async def newest_finish(events: Sequence[RunEvent], read: Reader) -> Finish | None:
    """The same without the conversation; the event alone may hold only the call's beginning."""
    call, id = 0, ""
    for event in reversed(events):
        match event.payload:
            case ToolReturned(tool="finish", ok=True) as finish if not call:
                call, id = finish.call, finish.id
            case ModelAnswered(call=number, message=message) if call and number == call:
                answer = decode_one(await read(message))
                told = next((each for each in answer.tool_calls if each.id == id), None)
                return finish_of(told.arguments) if told else None
            case _:
                pass
    return None


def finish_of(arguments: str) -> Finish:
    """Of arguments that were cut or broken, what can be read: nothing."""
    try:
        values: Any = json.loads(arguments)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        return Finish(summary="")
    told = cast("dict[str, Any]", values)
    return Finish(summary=_text(told.get("summary")), answer=_text(told.get("answer")))


def _text(value: object) -> str:
    return clean(value).strip() if isinstance(value, str) else ""
