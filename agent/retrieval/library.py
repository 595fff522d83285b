"""The index of each project's code, brought to a commit when a run asks for it.

Whoever asks waits for a bounded time; the work goes on behind, and whoever asks next has it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from agent.errors import JourneymanError, StoreUnavailable
from agent.guard import guarded
from agent.ports import Clock
from agent.retrieval.history import CHANGES, Change
from agent.retrieval.indexer import Source, bring_up
from agent.retrieval.merges import Merges
from agent.retrieval.search import Searcher
from agent.retrieval.store import CodeStore, IndexedTree
from agent.retrieval.vectors import Similarity
from agent.run import CommitSha

log = logging.getLogger(__name__)

PATIENCE = 20.0  #: seconds that a run waits for its index before it goes on without
ANSWERING = 20.0  #: seconds that it waits for an answer
MOMENT = 0.5  #: seconds that it waits for past changes, once there is an index
_AT_ONCE = 2  #: projects that a process indexes; more of them wait
_KEPT = 20  #: trees whose past changes are kept in memory
_LEARNT = 500  #: commits that are known to have been asked for their past

#: Past changes of a project up to a commit, newest first: what its vault does not have.
Past = Callable[[str, CommitSha], Awaitable[Sequence[Change]]]
_Key = tuple[str, CommitSha]


class Readiness(StrEnum):
    READY = "ready"
    LATE = "late"  # still being made
    BROKEN = "broken"


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """What there is of one commit of a project."""

    state: Readiness
    searcher: Searcher | None = None
    problem: str = ""  #: a sentence


@dataclass(kw_only=True)
class Library:
    """`sources` gives the code of a project that has been fetched; `past` may be slow."""

    store: CodeStore
    sources: Callable[[str], Source]
    clock: Clock
    past: Past | None = None
    merges: Merges | None = None
    similarity: Similarity | None = None
    patience: float = PATIENCE
    answering: float = ANSWERING
    _making: dict[_Key, asyncio.Task[IndexedTree]] = field(default_factory=dict, init=False)
    _learning: dict[str, asyncio.Task[None]] = field(default_factory=dict, init=False)
    _reading: dict[str, asyncio.Task[None]] = field(default_factory=dict, init=False)
    _learnt: dict[_Key, None] = field(default_factory=dict, init=False)
    _searchers: dict[int, Searcher] = field(default_factory=dict, init=False)
    _room: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(_AT_ONCE), init=False
    )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tasks: list[asyncio.Task[Any]] = [*self._making.values(), *self._learning.values()]
        tasks += self._reading.values()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def prepare(self, project: str, commit: CommitSha) -> None:
        """Begins, and comes back at once."""
        self._make(project, commit)

    async def shelf(self, project: str, commit: CommitSha, patience: float | None = None) -> Shelf:
        """Never raises: without an index there is exact search."""
        seconds = self.patience if patience is None else patience
        task = self._make(project, commit)
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            told = f"The index was not ready within {seconds:.0f} s; it is still being made."
            return Shelf(state=Readiness.LATE, problem=told)
        if task.cancelled():
            return Shelf(state=Readiness.BROKEN, problem="The index was given up at the end.")
        if error := task.exception():
            return Shelf(state=Readiness.BROKEN, problem=_words(error))
        tree = task.result()
        if learning := self._learning.get(project):
            await asyncio.wait({learning}, timeout=MOMENT)
        return Shelf(state=Readiness.READY, searcher=self._searcher(tree))

    def _searcher(self, tree: IndexedTree) -> Searcher:
        if tree.id not in self._searchers:
            while len(self._searchers) >= _KEPT:
                del self._searchers[next(iter(self._searchers))]
            now = self.clock.now()
            self._searchers[tree.id] = Searcher(
                store=self.store, tree=tree, now=now, similarity=self.similarity
            )
        return self._searchers[tree.id]

    def _make(self, project: str, commit: CommitSha) -> asyncio.Task[IndexedTree]:
        key = project, commit
        if key not in self._making:
            task = asyncio.create_task(self._made(project, commit))
            self._making[key] = task
            task.add_done_callback(lambda done: self._left(key, done))
        return self._making[key]

    def _left(self, key: _Key, task: asyncio.Task[IndexedTree]) -> None:
        self._making.pop(key, None)
        if not task.cancelled() and (error := task.exception()):
            known = isinstance(error, JourneymanError)
            told = {"project": key[0], "commit": key[1], "problem": str(error)}
            log.warning("index_broken", extra=told, exc_info=None if known else error)

    async def _made(self, project: str, commit: CommitSha) -> IndexedTree:
        tree = await self.store.tree(project, commit)
        if tree is None:
            async with self._room:
                done = await bring_up(self.store, self.sources(project), project, commit)
            tree = done.tree
            told = {"project": project, "commit": commit, "files": tree.files, "read": done.read}
            log.info("index_ready", extra=told)
        # Also of a tree that was there: whoever made it may have ended before it learnt.
        key = project, commit
        if self.past is not None and project not in self._learning and key not in self._learnt:
            while len(self._learnt) >= _LEARNT:
                del self._learnt[next(iter(self._learnt))]
            self._learnt[key] = None
            self._learning[project] = asyncio.create_task(self._learn(self.past, project, commit))
            self._learning[project].add_done_callback(lambda _: self._learning.pop(project, None))
        return tree

    async def _learn(self, past: Past, project: str, commit: CommitSha) -> None:
        """Past changes order the places better; nothing waits for them."""
        try:
            with guarded(log, "past_broke", project=project):
                changes = (await past(project, commit))[:CHANGES]
                with suppress(StoreUnavailable):
                    await self.store.remember(project, changes)
        except JourneymanError as error:
            log.info("past_unknown", extra={"project": project, "problem": str(error)})
        else:
            if self.merges is not None and project not in self._reading:
                reading = asyncio.create_task(self._read(self.merges, project, commit))
                self._reading[project] = reading
                reading.add_done_callback(lambda _: self._reading.pop(project, None))
        self._ask_again(project)

    async def _read(self, merges: Merges, project: str, commit: CommitSha) -> None:
        """Takes minutes at first, and nothing waits for it."""
        try:
            with guarded(log, "merges_broke", project=project):
                learnt = await merges.learn(project, commit)
        except JourneymanError as error:
            log.info("merges_unknown", extra={"project": project, "problem": str(error)})
            return
        if learnt:
            log.info("merges_learnt", extra={"project": project, "merge_requests": learnt})
            self._ask_again(project)

    def _ask_again(self, project: str) -> None:
        """What is known of the project's past has changed."""
        for id, searcher in list(self._searchers.items()):
            if searcher.tree.project == project:
                del self._searchers[id]


def _words(error: BaseException) -> str:
    if isinstance(error, JourneymanError):
        return f"There is no index: {error}"
    return f"There is no index: something broke on our side ({type(error).__name__})."
