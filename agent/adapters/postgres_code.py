"""The code of projects in PostgreSQL: BM25 as pgvector's sparse inner product.

Each transaction names its project, and row-level security shows it that project's rows alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pgvector import SparseVector
from pgvector.asyncpg import register_vector

from agent.adapters import postgres_changes
from agent.adapters.postgres import Connection, Pool, Row, open_pool, translated
from agent.adapters.postgres_changes import clean
from agent.adapters.postgres_chunks import (
    ADD,
    ALSO,
    BEST,
    BEST_INSIDE,
    DEFINED,
    SYMBOLS,
    TEXTS,
    candidate,
    stored,
)
from agent.adapters.postgres_trees import make_tree, postings, unpacked
from agent.adapters.tree_cache import TreeCache
from agent.retrieval.history import Change
from agent.retrieval.lexical import Vector
from agent.retrieval.memory import FileIndex
from agent.retrieval.postings import BYTES, Postings
from agent.retrieval.ranking import Candidate
from agent.retrieval.store import VERSION, Frequencies, IndexedTree, TreeFile
from agent.retrieval.tokens import DIMENSIONS
from agent.run import CommitSha

_POOL = 4
_LOCK = 7008  #: of one project's trees
_TURN = 7009  #: of whoever indexes a project
_AT_ONCE = 200  #: files that are stored in one transaction
_ANSWER = 300.0  #: seconds for one statement; a large project's may take long
_LONGEST = 3600.0  #: seconds in which another process has indexed a project

_TREE = "SELECT id, project, commit, files, lines, chunks, built_at FROM code_trees"
_MISSING = """
SELECT path, blob FROM unnest($2::text[], $3::text[]) AS wanted (path, blob)
WHERE (
    SELECT b.id FROM code_blobs b WHERE b.project = $1 AND b.path = wanted.path
    AND b.blob = wanted.blob AND b.version = $4) IS NULL"""
#: Nobody of now asks for what an older version stored; a newer one is left what it has, since it
#: may be at work beside us.
_FORGET_TREES = """
DELETE FROM code_trees WHERE project = $1 AND ($2 = 0 OR version <= $3) AND id NOT IN (
    SELECT id FROM code_trees WHERE project = $1 AND version = $3
    ORDER BY built_at DESC, id DESC LIMIT $2)"""
_FORGET_BLOBS = """
DELETE FROM code_blobs b WHERE b.project = $1
AND b.id NOT IN (SELECT m.blob_id FROM code_members m WHERE m.project = $1)"""


class PostgresCode:
    """Implements `agent.retrieval.store.CodeStore`. Its connections are opened at first use."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()
        self._turns = asyncio.Semaphore(_POOL // 2)
        self._known: dict[int, tuple[NDArray[np.int32], NDArray[np.int32]]] = {}
        self.kept = TreeCache[tuple[str, int], Postings](read=self._postings)

    async def close(self) -> None:
        await self.kept.close()
        if self._pool is not None:
            await self._pool.close()

    async def tree(self, project: str, commit: CommitSha) -> IndexedTree | None:
        async with self.of_project(project) as db:
            return await _found(db, project, commit)

    async def newest(self, project: str) -> IndexedTree | None:
        query = (
            f"{_TREE} WHERE project = $1 AND version = $2 ORDER BY built_at DESC, id DESC LIMIT 1"
        )
        async with self.of_project(project) as db:
            row = await db.fetchrow(query, project, VERSION)
        return _tree(row) if row else None

    @asynccontextmanager
    async def alone(self, project: str) -> AsyncGenerator[None]:
        """Holds one of the pool's connections; a few at once, so that some are left to work."""
        async with self._turns, self.of_project(project) as db:
            turn = "SELECT pg_advisory_xact_lock($1, hashtext($2))"
            await db.execute(turn, _TURN, project, timeout=_LONGEST)
            yield

    async def missing(self, project: str, files: Sequence[TreeFile]) -> Sequence[TreeFile]:
        paths, blobs = [f.path for f in files], [f.blob for f in files]
        async with self.of_project(project) as db:
            rows = await db.fetch(_MISSING, project, paths, blobs, VERSION)
        return [TreeFile(path=str(row["path"]), blob=str(row["blob"])) for row in rows]

    async def add(self, project: str, files: Sequence[tuple[TreeFile, FileIndex | None]]) -> None:
        for begin in range(0, len(files), _AT_ONCE):
            async with self.of_project(project) as db:
                # in one order, so that two who store the same do not wait for each other
                part = {f.path: (f, i) for f, i in files[begin : begin + _AT_ONCE]}
                # made while they are sent: a row takes several times what its file does
                rows = (
                    (project, VERSION, file.path, file.blob, *stored(index))
                    for _, (file, index) in sorted(part.items())
                )
                await cast("Any", db).executemany(ADD, rows)

    async def settle(
        self, project: str, commit: CommitSha, files: Sequence[TreeFile]
    ) -> IndexedTree | None:
        async with self.of_project(project) as db:
            await db.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", _LOCK, project)
            there = await _found(db, project, commit)
            if there is None and await make_tree(db, project, commit, files):
                there = await _found(db, project, commit)
            return there

    async def frequencies(self, tree: IndexedTree, tokens: Collection[int]) -> Frequencies:
        if tree.id not in self._known:
            async with self.of_project(tree.project) as db:
                packed = await db.fetchval(
                    "SELECT frequencies FROM code_trees WHERE id = $1", tree.id
                )
            if len(self._known) > 64:
                self._known.clear()
            self._known[tree.id] = unpacked(packed or b"")
        known, counts = self._known[tree.id]
        wanted = np.fromiter(tokens, dtype=np.int32)
        places = np.searchsorted(known, wanted)
        having = {
            int(token): int(counts[place])
            for token, place in zip(wanted, places, strict=True)
            if place < len(known) and known[place] == token
        }
        return Frequencies(chunks=tree.chunks, having=having)

    async def best(
        self,
        tree: IndexedTree,
        query: Vector,
        *,
        most: int,
        also: Collection[str] = (),
        without: Collection[str] = (),
        inside: str = "",
    ) -> Sequence[Candidate]:
        if not storable([inside]):
            return ()
        kept = self.kept.get((tree.project, tree.id), tree.chunks * BYTES)
        if kept is not None:
            return kept.best(query, most, also=also, without=without, inside=inside)
        asked = SparseVector(dict(query), DIMENSIONS)
        values = tree.id, asked, tree.project, storable(without), most
        async with self.of_project(tree.project) as db:
            if inside:
                rows = list(await db.fetch(BEST_INSIDE, *values, inside))
            else:
                rows = list(await db.fetch(BEST, *values))
            have = {str(row["path"]) for row in rows}
            if more := [path for path in also if path not in have and path not in without]:
                rows += await db.fetch(ALSO, tree.id, asked, tree.project, storable(more))
        return [candidate(row) for row in rows]

    async def defined(
        self, tree: IndexedTree, names: Collection[str], inside: str = ""
    ) -> Sequence[Candidate]:
        if not storable([inside]):
            return ()
        async with self.of_project(tree.project) as db:
            rows = await db.fetch(DEFINED, tree.id, tree.project, storable(names), inside)
        return [candidate(row) for row in rows]

    async def texts(self, tree: IndexedTree, chunks: Sequence[int]) -> Mapping[int, str]:
        async with self.of_project(tree.project) as db:
            rows = await db.fetch(TEXTS, list(chunks), tree.project)
        return {int(row["id"]): row["content"] for row in rows if row["content"] is not None}

    async def symbols(
        self, tree: IndexedTree, paths: Collection[str]
    ) -> Mapping[str, Sequence[str]]:
        async with self.of_project(tree.project) as db:
            rows = await db.fetch(SYMBOLS, tree.id, storable(paths))
        told = {row["path"]: "\n".join(filter(None, row["symbols"])) for row in rows}
        return {
            path: tuple(dict.fromkeys(names.split("\n"))) for path, names in told.items() if names
        }

    async def remember(self, project: str, changes: Sequence[Change]) -> None:
        async with self.of_project(project) as db:
            await postgres_changes.remember(db, project, changes)

    async def changes(
        self, project: str, most: int, until: CommitSha | None = None
    ) -> Sequence[Change]:
        async with self.of_project(project) as db:
            return await postgres_changes.changes_of(db, project, most, until)

    async def forget(self, project: str, *, keep: int) -> int:
        async with self.of_project(project) as db:
            await db.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", _LOCK, project)
            dropped = await db.execute(_FORGET_TREES, project, keep, VERSION)
            await db.execute(_FORGET_BLOBS, project)
            if not keep:
                await postgres_changes.forget(db, project)
        return int(dropped.split()[-1])

    async def _postings(self, key: tuple[str, int]) -> Postings:
        project, tree = key
        async with self.of_project(project) as db:
            return await postings(db, tree)

    @asynccontextmanager
    async def of_project(self, project: str) -> AsyncGenerator[Connection]:
        async with self._opening:
            if self._pool is None:
                self._pool = await open_pool(
                    self._dsn, size=_POOL, first=register_vector, answer=_ANSWER
                )
        with translated():
            async with self._pool.acquire() as db, db.transaction():
                await db.execute("SELECT set_config('journeyman.project', $1, true)", project)
                yield db


async def _found(db: Connection, project: str, commit: CommitSha) -> IndexedTree | None:
    query = f"{_TREE} WHERE project = $1 AND commit = $2 AND version = $3"
    row = await db.fetchrow(query, project, commit, VERSION)
    return _tree(row) if row else None


def storable(texts: Collection[str]) -> list[str]:
    """What else is asked for, such as a path that is no UTF-8, cannot be there."""
    return [text for text in texts if clean(text) == text]


def _tree(row: Row) -> IndexedTree:
    return IndexedTree(
        id=int(row["id"]),
        project=row["project"],
        commit=CommitSha(row["commit"]),
        files=int(row["files"]),
        lines=int(row["lines"]),
        chunks=int(row["chunks"]),
        built_at=row["built_at"],
    )
