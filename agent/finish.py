"""What the model said when it finished, read again from its own call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from agent.ports import Message
from agent.prompt import clean
from agent.tools.base import Finish


def last_finish(messages: Sequence[Message]) -> Finish | None:
    for message in reversed(messages):
        for call in reversed(message.tool_calls):
            if call.name == "finish":
                return finish_of(call.arguments)
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
