"""The index as one run may ask it: its base commit, with the files that the run has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from agent.errors import GitFailed, StoreUnavailable, ToolFailed
from agent.events import FileChange
from agent.files import WorkspaceFiles
from agent.ports import Vault
from agent.retrieval.chunks import FILE
from agent.retrieval.library import Library, Readiness, Shelf
from agent.retrieval.search import Searcher
from agent.run import CommitSha, TreeSha

EDITS = 300  #: changed files that are read; further ones are found as they were
Edits = Mapping[str, bytes | None]  # None: deleted


@dataclass(frozen=True, kw_only=True)
class Opened:
    """`searcher` None: `shelf` says why."""

    shelf: Shelf
    searcher: Searcher | None


@dataclass(frozen=True, kw_only=True)
class CodeView:
    library: Library
    project: str
    commit: CommitSha
    edits: Callable[[], Awaitable[Edits]]

    async def opened(self, patience: float | None = None) -> Opened:
        """Never raises: a run goes on without an index."""
        shelf = await self.library.shelf(self.project, self.commit, patience)
        if shelf.searcher is None:
            return Opened(shelf=shelf, searcher=None)
        try:
            searcher = await shelf.searcher.over(await self.edits())
        except (StoreUnavailable, GitFailed, ToolFailed) as error:
            return Opened(shelf=broken(error), searcher=None)
        return Opened(shelf=shelf, searcher=searcher)


def broken(error: Exception) -> Shelf:
    return Shelf(state=Readiness.BROKEN, problem=f"The index did not answer: {error}")


async def edits_of(
    vault: Vault,
    base: Collection[str],
    tree: TreeSha,
    changed: Sequence[FileChange],
    files: WorkspaceFiles,
) -> dict[str, bytes | None]:
    """`base`: paths at the base commit, of which renamed and deleted ones are gone in `tree`."""
    edits: dict[str, bytes | None] = {}
    if any(change.status in ("deleted", "renamed") for change in changed):
        edits |= dict.fromkeys(set(base).difference(await vault.list(tree)))
    there = [change.path for change in changed if change.status != "deleted"]
    return edits | await asyncio.to_thread(_read, files, there[:EDITS])


def _read(files: WorkspaceFiles, paths: Sequence[str]) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    for path in paths:
        try:
            found[path] = files.read(path, FILE + 1)
        except ToolFailed:  # a link, a pipe, or gone by now
            found[path] = None
    return found
