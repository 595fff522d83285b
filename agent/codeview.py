"""The index as one run may ask it: its base commit, with the files that the run has changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from agent.errors import Broken, JourneymanError, ToolFailed
from agent.events import FileChange
from agent.files import WorkspaceFiles
from agent.guard import guarded
from agent.ports import Vault
from agent.retrieval.chunks import FILE
from agent.retrieval.library import Library, Readiness, Shelf
from agent.retrieval.memory import Edited
from agent.retrieval.search import Searcher
from agent.run import CommitSha, TreeSha

log = logging.getLogger(__name__)
T = TypeVar("T")

EDITS = 300  #: changed files that are read; further ones are found as they were
BYTES = 8 << 20  #: of them together


@dataclass(frozen=True, kw_only=True)
class Edits:
    files: Mapping[str, bytes | None] = field(default_factory=dict[str, bytes | None])  # None: gone
    unread: int = 0  #: changed files beyond the bounds


@dataclass(frozen=True, kw_only=True)
class Opened:
    """`searcher` None: `shelf` says why."""

    shelf: Shelf
    searcher: Searcher | None
    unread: int = 0  #: changed files that are found as they were

    @property
    def told(self) -> str:
        """What an answer does not rest on, for the model."""
        if not self.unread:
            return ""
        return f"; {self.unread} further changed files, too many to read, as they were"


@dataclass(frozen=True, kw_only=True)
class CodeView:
    library: Library
    project: str
    commit: CommitSha
    edits: Callable[[], Awaitable[Edits]]
    _edited: Edited = field(default_factory=Edited, init=False)

    async def opened(self, patience: float | None = None) -> Opened:
        """Never raises: a run goes on without an index."""
        shelf = await self.library.shelf(self.project, self.commit, patience)
        if shelf.searcher is None:
            return Opened(shelf=shelf, searcher=None)
        over = await self.answered(self._over(shelf, shelf.searcher))
        return over if isinstance(over, Opened) else Opened(shelf=over, searcher=None)

    async def answered(self, asking: Coroutine[Any, Any, T]) -> T | Shelf:
        """What an index answers, or why it does not. Never raises, and waits for a bounded time."""
        seconds = self.library.answering
        task = asyncio.create_task(asking)
        try:
            # not waited for any longer: giving a connection back may take as long as asking did
            done, _ = await asyncio.wait({task}, timeout=seconds)
        finally:
            task.cancel()
        if not done or task.cancelled():
            task.add_done_callback(lambda late: late.cancelled() or late.exception())
            return _broken(f"The index did not answer within {seconds:.0f} s.")
        try:
            with guarded(log, "index_broke", project=self.project, commit=self.commit):
                return task.result()
        except Broken as error:  # whatever is wrong with an index, the run goes on without it
            return _broken(
                f"The index did not answer: something broke on our side ({error.cause})."
            )
        except JourneymanError as error:
            return _broken(f"The index did not answer: {error}")

    async def _over(self, shelf: Shelf, searcher: Searcher) -> Opened:
        edits = await self.edits()
        searcher = await searcher.over(edits.files, self._edited)
        return Opened(shelf=shelf, searcher=searcher, unread=edits.unread)


def _broken(problem: str) -> Shelf:
    return Shelf(state=Readiness.BROKEN, problem=problem)


async def edits_of(
    vault: Vault,
    base: Collection[str],
    tree: TreeSha,
    changed: Sequence[FileChange],
    files: WorkspaceFiles,
) -> Edits:
    """`base`: paths at the base commit, of which renamed and deleted ones are gone in `tree`."""
    gone: dict[str, bytes | None] = {}
    if any(change.status in ("deleted", "renamed") for change in changed):
        gone |= dict.fromkeys(set(base).difference(await vault.list(tree)))
    there = [change.path for change in changed if change.status != "deleted"]
    found = await asyncio.to_thread(_read, files, there[:EDITS])
    return Edits(files=gone | found, unread=len(there) - len(found))


def _read(files: WorkspaceFiles, paths: Sequence[str]) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    room = BYTES
    for path in paths:
        try:
            data = files.read(path, FILE + 1)
        except ToolFailed:  # a link, a pipe, or gone by now
            data = b""
        if len(data) <= FILE:  # a larger one is not indexed, and costs nothing more
            room -= len(data)
        if room < 0:
            break
        found[path] = data if 0 < len(data) <= FILE else None
    return found
