"""What the listeners need of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

from agent.freeze import Freeze, OperatorDeed
from agent.gate import Click, Deed, GateId
from agent.run import Person, Request, Run, RunId, Thread
from agent.state import RunState


class Runs(Protocol):
    """Each checks the person's live access to the project. Raises `Refused`, `Unavailable`.
    `message`: what asked for it; the same one again does nothing more."""

    async def start(self, request: Request, *, alone: bool = False) -> Run:
        """`alone`: where another run is under way in the thread, that one is given, and nothing
        begins."""
        ...

    async def instruct(
        self, run: RunId, text: str, by: Person, *, message: str = "", answers: bool = True
    ) -> Run:
        """`answers`: whether it may be the answer to a question that stands."""
        ...

    async def approve_plan(self, run: RunId, by: Person, *, message: str = "") -> Run: ...

    async def answer(
        self, run: RunId, text: str, by: Person, *, message: str = "", question: int = 0
    ) -> Run:
        """`question`: the `question_seq` that the person has seen."""
        ...

    async def lift(self, run: RunId, by: Person, *, hold: int = 0, message: str = "") -> Run: ...

    async def stop(self, run: RunId, by: Person, *, how: str, message: str = "") -> Run: ...

    async def take_over(self, run: RunId, by: Person, *, message: str = "") -> Run: ...

    async def retry(self, run: RunId, by: Person, *, message: str = "") -> Run: ...

    async def status(self, run: RunId) -> RunState: ...


class Operating(Protocol):
    """What concerns all runs of a project or, where `scope` is empty, of every project. Each
    checks the person's right and records what was done or refused. Raises `Refused`."""

    async def freeze(
        self, scope: str, by: Person, reason: str = "", *, said: datetime | None = None
    ) -> Freeze: ...

    async def unfreeze(
        self, scope: str, by: Person, reason: str = "", *, said: datetime | None = None
    ) -> Freeze | None: ...

    async def stop_all(self, scope: str, by: Person, *, message: str = "") -> Sequence[Run]: ...

    async def refuse(
        self, deed: OperatorDeed, scope: str, by: Person, refusal: str, reason: str = ""
    ) -> None: ...

    async def freezes(self) -> Sequence[Freeze]: ...


class Gates(Protocol):
    """Each checks the person's rights live, and keeps every click, refused ones too. Raises
    `Refused`, `Unavailable`."""

    async def decide(self, click: Click) -> Run: ...

    async def refused(
        self, gate: GateId, by: Person, deed: Deed, check: str, reason: str, *, message: str = ""
    ) -> None:
        """For a click of somebody who may not speak for themselves here."""
        ...

    async def begin(
        self,
        run: RunId,
        kind: Literal["promotion", "revert"],
        by: Person,
        *,
        thread: Thread | None = None,
        message: str = "",
    ) -> Run:
        """`thread`: where the button was pressed, which must be the run's own."""
        ...

    async def ask_again(
        self, run: RunId, by: Person, *, thread: Thread | None = None, message: str = ""
    ) -> Run: ...
