"""What a tool is: a name, a schema for the model, and a function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from agent.codeview import CodeView
from agent.errors import ToolFailed
from agent.events import Payload, QuestionAnswered, QuestionAsked
from agent.files import WorkspaceFiles
from agent.harness import Harness
from agent.outputs import Outputs
from agent.ports import Box, ToolSpec
from agent.project import ProjectSettings
from agent.state import RunState


@dataclass(frozen=True, kw_only=True)
class Finish:
    """The model holds that the work is done."""

    summary: str
    answer: str = ""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """The run waits for a person."""

    question: QuestionAsked


@dataclass(frozen=True, kw_only=True)
class ToolOutcome:
    """`output` goes to the model, `summary` is one line for people."""

    output: str
    summary: str
    ok: bool = True
    signal: Finish | Ask | None = None
    payloads: tuple[Payload, ...] = ()  #: facts for the log, beside the call itself
    bodies: tuple[bytes, ...] = ()
    whole: bytes = b""  #: all that was printed, where `output` is a part of it


@dataclass(frozen=True, kw_only=True)
class ToolContext:
    """What a tool may use while it is carried out."""

    state: RunState
    project: ProjectSettings
    files: WorkspaceFiles
    box: Box
    harness: Harness
    outputs: Outputs
    answer: QuestionAnswered | None  #: to the `ask` that is carried out again now
    code: CodeView | None = None


class BadArguments(ToolFailed):
    """The call does not fit the tool's schema."""


class Arguments:
    """A call's arguments, checked as they are taken. Raises `BadArguments` with a sentence."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def text(self, name: str, default: str | None = None, *, empty: bool = False) -> str:
        value = self._take(name, default)
        if not isinstance(value, str):
            raise BadArguments(f"`{name}` must be a string.")
        if default is None and not empty and not value.strip():
            raise BadArguments(f"`{name}` must not be empty.")
        return value

    def path(self, name: str = "path") -> str:
        """As the model knows it from commands, or relative to the project's root."""
        path = self.text(name).strip()
        return path.removeprefix("/workspace/") if path != "/workspace" else "."

    def number(self, name: str, default: int, *, low: int, high: int) -> int:
        value = self._take(name, default)
        if isinstance(value, str) and value.strip().lstrip("-").isdigit():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadArguments(f"`{name}` must be a number.")
        return max(low, min(int(value), high))

    def texts(self, name: str) -> tuple[str, ...]:
        value: Any = self._take(name, [])
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list):
            raise BadArguments(f"`{name}` must be a list of strings.")
        texts = [item for item in cast("list[Any]", values) if isinstance(item, str)]
        if len(texts) != len(cast("list[Any]", values)):
            raise BadArguments(f"`{name}` must be a list of strings.")
        return tuple(texts)

    def items(self, name: str) -> list[Arguments]:
        values: Any = self._take(name, None)
        if not isinstance(values, list):
            raise BadArguments(f"`{name}` must be a list of objects.")
        items = cast("list[Any]", values)
        if not all(isinstance(item, dict) for item in items):
            raise BadArguments(f"`{name}` must be a list of objects.")
        return [Arguments(item) for item in items]

    def _take(self, name: str, default: object) -> object:
        value = self._values.get(name)
        if value is None:
            if default is None:
                raise BadArguments(f"`{name}` is missing.")
            return default
        return value


@dataclass(frozen=True, kw_only=True)
class Tool:
    spec: ToolSpec
    act: Callable[[ToolContext, Arguments], Awaitable[ToolOutcome]]
    changes: bool = False  #: may change files: a checkpoint follows, a crash means doing it again
    early: bool = False  #: works before there is a plan

    @property
    def name(self) -> str:
        return self.spec.name


def schema(required: str, /, **properties: str | Mapping[str, Any]) -> Mapping[str, Any]:
    """A JSON Schema of an object; a property given as text is a type name."""
    return {
        "type": "object",
        "properties": {
            name: {"type": value} if isinstance(value, str) else value
            for name, value in properties.items()
        },
        "required": required.split(),
    }
