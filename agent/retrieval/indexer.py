"""Brings the index of a project to a commit; only contents that are new are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from agent.errors import StoreUnavailable
from agent.retrieval.chunks import FILE
from agent.retrieval.history import CHANGES, Change
from agent.retrieval.kinds import kind_of
from agent.retrieval.memory import FileIndex, index_file
from agent.retrieval.store import CodeStore, IndexedTree, TreeFile
from agent.retrieval.tokens import Tokens
from agent.run import CommitSha

TREES = 20  #: commits of a project that stay ready to be asked
_LONGEST = 1000  #: bytes of a path that is indexed
_BATCH = 200  #: files that are stored at once


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    path: str
    id: str
    size: int


class Source(Protocol):
    """Raises `GitFailed`."""

    async def files(self, commit: CommitSha) -> Sequence[Blob]: ...

    def contents(self, blobs: Sequence[Blob]) -> AsyncGenerator[tuple[Blob, bytes]]:
        """What is not there is left out."""
        ...

    async def changes(
        self, commit: CommitSha, most: int, without: CommitSha | None = None
    ) -> Sequence[Change]:
        """Newest first, the commit itself among them. `without`: what else is in the history of
        this one is left out."""
        ...


@dataclass(frozen=True, kw_only=True)
class Progress:
    done: int
    of: int  #: files that are new


@dataclass(frozen=True, kw_only=True)
class Indexed:
    tree: IndexedTree
    read: int  #: files that were new
    problems: tuple[str, ...] = ()  #: grammars that did not work, and what was done instead


async def bring_up(
    store: CodeStore,
    source: Source,
    project: str,
    commit: CommitSha,
    *,
    tell: Callable[[Progress], None] = lambda progress: None,
    executor: Executor | None = None,
) -> Indexed:
    """Raises `StoreUnavailable`, `GitFailed`. What was stored stays, and is not done again; who
    else wants to index the project waits meanwhile."""
    if (there := await store.tree(project, commit)) is not None:
        return Indexed(tree=there, read=0)
    async with store.alone(project):
        if (there := await store.tree(project, commit)) is not None:
            return Indexed(tree=there, read=0)
        before = await store.newest(project)
        blobs = {b.path: b for b in await source.files(commit) if _worth(b)}
        files = [TreeFile(path=b.path, blob=b.id) for b in blobs.values()]
        wanted = [blobs[file.path] for file in await store.missing(project, files)]
        gone, problems = await _read(store, source, project, wanted, tell, executor)
        # Before there is a tree: once there is one, nobody asks for its history again.
        known = before.commit if before and await store.changes(project, 1) else None
        await store.remember(project, await source.changes(commit, CHANGES, known))
        tree = await store.settle(project, commit, [f for f in files if f.path not in gone])
        if tree is None:
            raise StoreUnavailable(
                f"Contents of {commit} were forgotten while it was indexed. What is left of them "
                "is kept; the next try reads the rest.",
                retry_after=1.0,
            )
        await store.forget(project, keep=TREES)
    return Indexed(tree=tree, read=len(wanted), problems=problems)


async def _read(
    store: CodeStore,
    source: Source,
    project: str,
    wanted: Sequence[Blob],
    tell: Callable[[Progress], None],
    executor: Executor | None,
) -> tuple[set[str], tuple[str, ...]]:
    """Stores what is in these files. The paths of those that are there no more, as in a partial
    clone, and the problems of grammars."""
    problems: dict[str, None] = {}
    tokens, batch, seen = Tokens(), list[tuple[TreeFile, FileIndex | None]](), set[str]()
    loop = asyncio.get_running_loop()
    done = 0
    tell(Progress(done=0, of=len(wanted)))
    async for blob, data in source.contents(wanted):
        index = await loop.run_in_executor(executor, index_file, blob.path, data, tokens)
        if index is not None and index.problem:
            problems[index.problem] = None
        seen.add(blob.path)
        batch.append((TreeFile(path=blob.path, blob=blob.id), index))
        if len(batch) >= _BATCH:
            await store.add(project, batch)
            done += len(batch)
            tell(Progress(done=done, of=len(wanted)))
            batch = []
    await store.add(project, batch)
    tell(Progress(done=len(wanted), of=len(wanted)))
    return {blob.path for blob in wanted} - seen, tuple(problems)


def _worth(blob: Blob) -> bool:
    return (
        0 < blob.size <= FILE
        and len(blob.path.encode()) <= _LONGEST
        and kind_of(blob.path) is not None
    )
