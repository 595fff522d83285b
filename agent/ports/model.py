"""The model that is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from agent.run import Usage


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    id: str
    name: str
    arguments: str  #: JSON as the model wrote it, possibly broken


@dataclass(frozen=True, kw_only=True)
class Message:
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class ToolSpec:
    """A tool as the model is told of it; `parameters` is a JSON Schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Answer:
    message: Message
    finish: Literal["stop", "tool_calls", "length", "content_filter"]
    usage: Usage
    model: str


class Model(Protocol):
    """One call, one answer; retries are the loop's. Raises `ModelUnavailable`, `ModelRejected`,
    `QuotaExhausted`, `ContextOverflow`."""

    @property
    def name(self) -> str: ...

    def window_of(self, model: str | None) -> int:
        """Tokens that prompt and answer may have together. None: the one that `name` says."""
        ...

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, model: str | None = None
    ) -> Answer: ...
