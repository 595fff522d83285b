"""Brings the index of a project to a commit; only contents that are new are read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from agent.errors import Broken, StoreUnavailable
from agent.guard import guarded
from agent.retrieval.chunks import FILE
from agent.retrieval.history import CHANGES, Change
from agent.retrieval.kinds import kind_of
from agent.retrieval.memory import FileIndex, index_file
from agent.retrieval.store import CodeStore, IndexedTree, TreeFile
from agent.retrieval.tokens import Tokens
from agent.run import CommitSha

log = logging.getLogger(__name__)

TREES = 20  #: commits of a project that stay ready to be asked
_LONGEST = 1000  #: bytes of a path that is indexed
_FILES = 200  #: that are stored at once
_BYTES = 2 << 20  #: of their contents, about; in memory they take twenty times as much


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
    #: Sentences: grammars that did not work and what was done instead, files that were left out.
    problems: tuple[str, ...] = ()


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
    clone, and what was in the way."""
    problems, broken = dict[str, None](), list[str]()
    tokens, batch, seen = Tokens(), list[tuple[TreeFile, FileIndex | None]](), set[str]()
    loop = asyncio.get_running_loop()
    done = held = 0
    tell(Progress(done=0, of=len(wanted)))
    async for blob, data in source.contents(wanted):
        try:
            index = await loop.run_in_executor(executor, _index, blob.path, data, tokens)
        except Broken:
            index = None
            broken.append(blob.path)
        if index is not None and index.problem:
            problems[index.problem] = None
        seen.add(blob.path)
        batch.append((TreeFile(path=blob.path, blob=blob.id), index))
        held += len(data)
        if len(batch) >= _FILES or held >= _BYTES:
            await store.add(project, batch)
            done += len(batch)
            tell(Progress(done=done, of=len(wanted)))
            batch, held = [], 0
    await store.add(project, batch)
    tell(Progress(done=len(wanted), of=len(wanted)))
    if broken:
        count = "1 file is" if len(broken) == 1 else f"{len(broken)} files are"
        told = f"{count} not indexed, since something broke on our side, such as {broken[0]!r}."
        problems[told] = None
    return {blob.path for blob in wanted} - seen, tuple(problems)


def _index(path: str, data: bytes, tokens: Tokens) -> FileIndex | None:
    """Raises `Broken` where the file brings our reading of it down."""
    with guarded(log, "file_not_indexed", path=path):
        return index_file(path, data, tokens)


def _worth(blob: Blob) -> bool:
    return (
        0 < blob.size <= FILE
        and len(blob.path.encode()) <= _LONGEST
        and kind_of(blob.path) is not None
    )
