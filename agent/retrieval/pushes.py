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
HELD = 1200.0  #: seconds until one is given up; a fetch of the largest project takes 900
_MORE = 60.0  #: seconds beyond them, after which whoever was at it is taken for dead
_LANES = 3  #: projects that are followed side by side: one that is slow holds up no other
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

    async def give_back(self, pushed: Pushed) -> None:
        """As if it had not been taken: free at once, and no attempt."""
        ...

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
    held: float = HELD

    async def serve(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as lanes:
            for _ in range(_LANES):
                lanes.create_task(self._serve())

    async def _serve(self) -> None:
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
        pushed = await self.pushes.take(self.projects, held=self.held + _MORE)
        if pushed is None:
            return False
        try:
            async with asyncio.timeout(self.held):
                problem = await self._follow(pushed)
            if not problem:
                await self.pushes.done(pushed)
                return True
        except JourneymanError as error:
            problem = str(error)
        except TimeoutError:
            problem = f"The newest commit was not indexed within {self.held:.0f} s."
        except asyncio.CancelledError:
            with suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(_END):
                    await self.pushes.give_back(pushed)  # whoever serves next goes on
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
        shelf = await self.library.shelf(pushed.project, commit, self.held)
        return "" if shelf.state is Readiness.READY else shelf.problem
