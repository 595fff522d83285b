"""What the listeners need of the engine."""

from __future__ import annotations

from typing import Protocol

from agent.run import Person, Request, Run, RunId
from agent.state import RunState


class Runs(Protocol):
    """Each checks the person's live access to the project. Raises `Refused`, `Unavailable`."""

    async def start(self, request: Request) -> Run: ...

    async def instruct(self, run: RunId, text: str, by: Person, *, message: str = "") -> Run: ...

    async def answer(self, run: RunId, text: str, by: Person, *, message: str = "") -> Run: ...

    async def lift(self, run: RunId, by: Person, *, hold: int = 0) -> Run: ...

    async def stop(self, run: RunId, by: Person, *, how: str) -> Run: ...

    async def retry(self, run: RunId, by: Person, *, message: str = "") -> Run: ...

    async def status(self, run: RunId) -> RunState: ...
