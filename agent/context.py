"""What goes into the prompt: a list of messages that only ever grows.

Each prompt begins with the whole one before, byte for byte, so that providers can keep their
cache of it. The log holds each message once: what a call appended, the hash of what stood
before, and the answer. From that the list is rebuilt exactly after a crash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from agent.events import ContextCompacted, ModelAnswered, ModelAsked, RunEvent, ToolReturned
from agent.ports import Message, ToolCall
from agent.run import Digest

Reader = Callable[[Digest], Awaitable[bytes]]

#: Characters of English and code that make a token, about. Only used until usage is known.
BYTES_A_TOKEN = 4


@dataclass(frozen=True, kw_only=True)
class Appended:
    body: bytes
    prefix: Digest
    messages: int


class Context:
    """The conversation of one run. `sent` messages have been in a prompt, the rest wait."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._sent = 0
        self._prefix = hashlib.sha256()
        self._known_tokens = 0  #: of the messages up to `_counted`, as the provider counted them
        self._counted = 0

    @property
    def messages(self) -> Sequence[Message]:
        return self._messages

    def append(self, message: Message) -> None:
        self._messages.append(message)

    def take(self) -> Appended:
        """What the next call adds to the prompts before. Counts as sent from now on."""
        prefix = Digest(self._prefix.hexdigest())
        fresh = self._messages[self._sent :]
        self._seal()
        return Appended(body=encode(fresh), prefix=prefix, messages=len(self._messages))

    def answered(self, message: Message, prompt_tokens: int = 0) -> bytes:
        """Adds the model's answer; gives the body that the log stores."""
        if prompt_tokens:
            self._known_tokens, self._counted = prompt_tokens, len(self._messages)
        self.append(message)
        self._seal()
        return encode_one(message)

    def compact(self, messages: Sequence[Message]) -> bytes:
        """Replaces everything; gives the body that the log stores."""
        self._replace(messages)
        return encode(messages)

    def tokens(self) -> int:
        """Of the next prompt: the provider's last count and an estimate of what came after."""
        fresh = self._messages[self._counted :]
        return self._known_tokens + sum(len(encode_one(m)) for m in fresh) // BYTES_A_TOKEN

    @classmethod
    async def restore(cls, events: Iterable[RunEvent], read: Reader) -> Context:
        """The conversation as the log has it, with results that no prompt has held yet."""
        context = cls()
        results: dict[str, Digest] = {}
        for event in events:
            match event.payload:
                case ModelAsked() as asked:
                    context._check(asked.prefix, asked.call)
                    context._messages = context._messages[: context._sent]
                    context._messages += decode(await read(asked.appended))
                    context._seal()
                    results = {}
                case ModelAnswered() as answer:
                    message = decode_one(await read(answer.message))
                    context.answered(message, answer.usage.prompt_tokens)
                    results = {}
                case ContextCompacted() as compacted:
                    context._replace(decode(await read(compacted.messages)))
                    results = {}
                case ToolReturned() as result:
                    results.setdefault(result.id, result.output)
                case _:
                    pass
        for call, output in results.items():
            text = (await read(output)).decode()
            context.append(Message(role="tool", content=text, tool_call_id=call))
        return context

    def _replace(self, messages: Sequence[Message]) -> None:
        self._messages = list(messages)
        self._sent = self._counted = self._known_tokens = 0
        self._prefix = hashlib.sha256()

    def _seal(self) -> None:
        for message in self._messages[self._sent :]:
            self._prefix.update(encode_one(message))
        self._sent = len(self._messages)

    def _check(self, prefix: Digest, call: int) -> None:
        if prefix != self._prefix.hexdigest():
            raise ValueError(f"the stored messages before call {call} do not have their hash")


def unanswered(messages: Sequence[Message]) -> tuple[ToolCall, ...]:
    """Calls of the newest answer that have no result yet, in order."""
    done: set[str] = set()
    for message in reversed(messages):
        if message.role == "assistant":
            return tuple(call for call in message.tool_calls if call.id not in done)
        if message.tool_call_id is not None:
            done.add(message.tool_call_id)
    return ()


def encode(messages: Sequence[Message]) -> bytes:
    return b"[" + b",".join(encode_one(message) for message in messages) + b"]"


def encode_one(message: Message) -> bytes:
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [
            {"id": call.id, "name": call.name, "arguments": call.arguments}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "backslashreplace"
    )


def decode(body: bytes) -> list[Message]:
    return [_message(item) for item in cast("list[dict[str, Any]]", json.loads(body))]


def decode_one(body: bytes) -> Message:
    return _message(json.loads(body))


def _message(body: dict[str, Any]) -> Message:
    return Message(
        role=body["role"],
        content=body["content"],
        tool_calls=tuple(ToolCall(**call) for call in body.get("tool_calls", ())),
        tool_call_id=body.get("tool_call_id"),
    )
