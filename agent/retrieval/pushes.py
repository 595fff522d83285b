"""Brings the index of a project to what was pushed, before a run asks for it.

What is told of a push only makes somebody look: the commit that is indexed is the one that GitLab
has then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Protocol

from agent.errors import JourneymanError, StoreUnavailable
from agent.guard import guarded
from agent.retrieval.library import Library, Readiness
from agent.retrieval.store import CodeStore
from agent.run import CommitSha

log = logging.getLogger(__name__)

EVERY = 30.0  #: seconds between looks, beside those that a push causes
HELD = 600.0  #: seconds that whoever is at it is waited for
ATTEMPTS = 5  #: then the next push or run brings the index
_PAUSE = 30.0  #: seconds before the second attempt; twice as many before each further one
_END = 2.0  #: seconds that an end waits until another worker may go on

#: A project's newest commit, fetched.
Newest = Callable[[str], Awaitable[CommitSha]]


@dataclass(frozen=True, kw_only=True)
class Pushed:
    project: str
    commit: CommitSha
    attempt: int


class PushStore(Protocol):
    """Of each project the newest push that no index has yet. Raises `StoreUnavailable`."""

    async def tell(self, project: str, commit: CommitSha) -> None: ...

    async def take(self, projects: Collection[str], *, held: float) -> Pushed | None:
        """One that nobody is at; it is free again after so many seconds."""
        ...

    async def done(self, pushed: Pushed) -> None:
        """What was pushed meanwhile is free at once."""
        ...

    async def later(self, pushed: Pushed, seconds: float) -> None: ...

    def told(self) -> AbstractContextManager[Callable[[float], Awaitable[None]]]:
        """Waits for the next push, for so many seconds at most."""
        ...


@dataclass(frozen=True, kw_only=True)
class Follower:
    pushes: PushStore
    code: CodeStore
    library: Library
    newest: Newest
    projects: Collection[str]
    every: float = EVERY

    async def serve(self) -> None:
        """Until cancelled."""
        with self.pushes.told() as wait:
            while True:
                try:
                    with guarded(log, "push_broke"):
                        while await self.turn():
                            pass
                except JourneymanError as error:
                    log.warning("push_waits", extra={"problem": str(error)})
                await wait(self.every)

    async def turn(self) -> bool:
        """False when there was nothing to do. Raises `StoreUnavailable`."""
        pushed = await self.pushes.take(self.projects, held=HELD)
        if pushed is None:
            return False
        try:
            problem = await self._follow(pushed)
            if not problem:
                await self.pushes.done(pushed)
                return True
        except JourneymanError as error:
            problem = str(error)
        except asyncio.CancelledError:
            with suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(_END):
                    await self.pushes.later(pushed, 0)  # whoever serves next goes on
            raise
        told = {"project": pushed.project, "attempt": pushed.attempt, "problem": problem}
        log.warning("push_waits", extra=told)
        await self.pushes.later(pushed, _PAUSE * 2 ** (pushed.attempt - 1))
        return True

    async def _follow(self, pushed: Pushed) -> str:
        """What came in the way, in words."""
        if await self.code.tree(pushed.project, pushed.commit) is not None:
            return ""
        commit = await self.newest(pushed.project)
        shelf = await self.library.shelf(pushed.project, commit, HELD)
        return "" if shelf.state is Readiness.READY else shelf.problem
