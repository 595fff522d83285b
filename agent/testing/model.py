"""A model that says what it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
    """Implements `agent.ports.Model`. `prompts` keeps the bytes of each prompt. With `by_prompt`
    the number of answers in the prompt chooses the reply, so that asking again repeats it."""

    replies: list[Reply]
    window: int = 128_000
    windows: Mapping[str, int] = field(default_factory=dict[str, int])
    name: str = "scripted"
    usage: Usage = field(
        default_factory=lambda: Usage(steps=1, prompt_tokens=1000, completion_tokens=50)
    )
    latency: float = 0.0
    by_prompt: bool = False
    prompts: list[bytes] = field(default_factory=list[bytes], init=False)
    asked: list[str | None] = field(default_factory=list[str | None], init=False)
    tools: list[Sequence[ToolSpec]] = field(default_factory=list[Sequence[ToolSpec]], init=False)
    given: int = field(default=0, init=False)

    def window_of(self, model: str | None) -> int:
        return self.windows.get(model or self.name, self.window)

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, model: str | None = None
    ) -> Answer:
        self.prompts.append(b"\n".join(encode_one(message) for message in messages))
        self.asked.append(model)
        self.tools.append(tools)
        await asyncio.sleep(self.latency)
        if self.by_prompt:
            self.given = sum(message.role == "assistant" for message in messages)
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
