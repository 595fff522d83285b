"""Stand-ins for tests: a model that says what it is told, and a clock that stands still."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from agent.context import encode_one
from agent.ports import Answer, Message, ToolCall, ToolSpec
from agent.run import Usage

#: What the model says next: an answer, an error to raise, or a function of the prompt.
Reply = Message | Exception | Answer | Callable[[Sequence[Message]], "Message"]


def call(name: str, /, **arguments: Any) -> tuple[str, str]:
    """A tool call to put into `say`."""
    return name, json.dumps(arguments)


def say(*calls: tuple[str, str], text: str | None = None) -> Message:
    """An answer of the model; its calls get ids of their own when it is given."""
    made = tuple(ToolCall(id="", name=name, arguments=arguments) for name, arguments in calls)
    return Message(role="assistant", content=text, tool_calls=made)


@dataclass(kw_only=True)
class ScriptedModel:
    """Implements `agent.ports.Model`. `prompts` keeps the bytes of each prompt."""

    replies: list[Reply]
    window: int = 128_000
    name: str = "scripted"
    usage: Usage = field(
        default_factory=lambda: Usage(steps=1, prompt_tokens=1000, completion_tokens=50)
    )
    latency: float = 0.0
    prompts: list[bytes] = field(default_factory=list[bytes], init=False)
    tools: list[Sequence[ToolSpec]] = field(default_factory=list[Sequence[ToolSpec]], init=False)
    given: int = field(default=0, init=False)

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, model: str | None = None
    ) -> Answer:
        self.prompts.append(b"\n".join(encode_one(message) for message in messages))
        self.tools.append(tools)
        await asyncio.sleep(self.latency)
        if self.given >= len(self.replies):
            raise AssertionError(f"the script has only {len(self.replies)} replies")
        reply = self.replies[self.given]
        self.given += 1
        if callable(reply):
            reply = reply(messages)
        match reply:
            case Exception():
                raise reply
            case Answer():
                return reply
            case Message():
                return self._answer(reply)

    def _answer(self, said: Message) -> Answer:
        calls = tuple(
            ToolCall(id=f"call_{self.given}_{place}", name=c.name, arguments=c.arguments)
            for place, c in enumerate(said.tool_calls)
        )
        finish: Literal["stop", "tool_calls"] = "tool_calls" if calls else "stop"
        message = Message(role="assistant", content=said.content, tool_calls=calls)
        return Answer(message=message, finish=finish, usage=self.usage, model=self.name)


class FixedClock:
    """Implements `agent.ports.Clock`. Sleeping moves it on at once; `slept` keeps how long."""

    def __init__(self, at: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self._at = at
        self._elapsed = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self._at + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    def advance(self, seconds: float) -> None:
        self._elapsed += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._elapsed += seconds
        await asyncio.sleep(0)
