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
from agent.adapters.postgres_trees import make_tree, unpacked
from agent.retrieval.embed import digest, document
from agent.retrieval.history import Change
from agent.retrieval.kinds import Kind
from agent.retrieval.lexical import Vector
from agent.retrieval.memory import FileIndex
from agent.retrieval.ranking import Candidate
from agent.retrieval.store import VERSION, Frequencies, IndexedTree, TreeFile
from agent.retrieval.tokens import DIMENSIONS
from agent.run import CommitSha

_POOL = 4
_LOCK = 7008  #: of one project's trees
_TURN = 7009  #: of whoever indexes a project
_AT_ONCE = 200  #: files that are stored in one transaction

_TREE = "SELECT id, project, commit, files, lines, chunks, built_at FROM code_trees"
_MISSING = """
SELECT path, blob FROM unnest($2::text[], $3::text[]) AS wanted (path, blob)
WHERE (
    SELECT b.id FROM code_blobs b WHERE b.project = $1 AND b.path = wanted.path
    AND b.blob = wanted.blob AND b.version = $4) IS NULL"""
_ADD = """
INSERT INTO code_blobs (project, version, path, blob, kind, language, lines)
SELECT $1, $2, * FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::integer[])
ON CONFLICT DO NOTHING RETURNING id, path"""
_CHUNK = """
INSERT INTO code_chunks (
    blob_id, project, start_line, end_line, symbols, context, content, lex, content_sha)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"""  # COPY knows no row-level security
_CANDIDATE = """
SELECT c.id, b.path, b.kind, c.start_line, c.end_line, c.symbols, -(c.lex <#> $2) AS score
FROM code_members m JOIN code_blobs b ON b.id = m.blob_id JOIN code_chunks c ON c.blob_id = b.id
WHERE m.tree_id = $1"""
# The paths are looked up first: joined, each chunk of the tree would ask for its own.
_AT = "ARRAY (SELECT id FROM code_blobs WHERE project = $3 AND path = ANY ($4))"
INSIDE = """ AND m.blob_id IN (SELECT id FROM code_blobs
    WHERE project = {project} AND (path = {folder} OR starts_with(path, {folder} || '/')))"""
_BEST_OF = f"""
WITH best AS MATERIALIZED (
    SELECT c.id, c.lex <#> $2 AS distance
    FROM code_members m JOIN code_chunks c ON c.blob_id = m.blob_id
    WHERE m.tree_id = $1 AND m.blob_id <> ALL ({_AT})%s ORDER BY distance LIMIT $5)
SELECT c.id, b.path, b.kind, c.start_line, c.end_line, c.symbols, -best.distance AS score
FROM best JOIN code_chunks c ON c.id = best.id JOIN code_blobs b ON b.id = c.blob_id
WHERE distance < 0 AND b.project = $3 ORDER BY distance"""
_BEST, _BEST_INSIDE = _BEST_OF % "", _BEST_OF % INSIDE.format(project="$3", folder="$6")
_ALSO = f"""
SELECT DISTINCT ON (path) * FROM ({_CANDIDATE} AND m.blob_id = ANY ({_AT})) AS found
ORDER BY path, score DESC"""
_DEFINED = f"""{_CANDIDATE} AND b.project = $4 AND c.symbols && $3
AND ($5 = '' OR b.path = $5 OR starts_with(b.path, $5 || '/'))
ORDER BY b.path, c.start_line LIMIT 200"""
_SYMBOLS = """
SELECT b.path, c.symbols
FROM code_members m JOIN code_blobs b ON b.id = m.blob_id JOIN code_chunks c ON c.blob_id = b.id
WHERE m.tree_id = $1 AND b.path = ANY ($2) AND c.symbols <> '{}' ORDER BY b.path, c.start_line"""
_FORGET_TREES = """
DELETE FROM code_trees WHERE project = $1 AND id NOT IN (
    SELECT id FROM code_trees WHERE project = $1 ORDER BY built_at DESC, id DESC LIMIT $2)"""
_FORGET_BLOBS = """
DELETE FROM code_blobs b WHERE b.project = $1
AND (SELECT m.tree_id FROM code_members m WHERE m.blob_id = b.id LIMIT 1) IS NULL"""


class PostgresCode:
    """Implements `agent.retrieval.store.CodeStore`. Its connections are opened at first use."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()
        self._turns = asyncio.Semaphore(_POOL // 2)
        self._known: dict[int, tuple[NDArray[np.int32], NDArray[np.int32]]] = {}

    async def close(self) -> None:
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
            await db.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", _TURN, project)
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
                about = [
                    (f.path, f.blob, *((i.kind, i.language, i.lines) if i else ("", "", 0)))
                    for _, (f, i) in sorted(part.items())
                ]
                new = await db.fetch(_ADD, project, VERSION, *map(list, zip(*about, strict=True)))
                chunks: list[tuple[Any, ...]] = []
                for row in new:
                    if (index := part[row["path"]][1]) is not None:
                        chunks += _rows(int(row["id"]), project, index)
                if chunks:
                    await cast("Any", db).executemany(_CHUNK, chunks)

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
        asked = SparseVector(dict(query), DIMENSIONS)
        values = tree.id, asked, tree.project, storable(without), most
        async with self.of_project(tree.project) as db:
            if inside:
                rows = list(await db.fetch(_BEST_INSIDE, *values, inside))
            else:
                rows = list(await db.fetch(_BEST, *values))
            have = {str(row["path"]) for row in rows}
            if more := [path for path in also if path not in have and path not in without]:
                rows += await db.fetch(_ALSO, tree.id, asked, tree.project, storable(more))
        return [candidate(row) for row in rows]

    async def defined(
        self, tree: IndexedTree, names: Collection[str], inside: str = ""
    ) -> Sequence[Candidate]:
        if not storable([inside]):
            return ()
        nothing = SparseVector({}, DIMENSIONS)
        values = tree.id, nothing, storable(names), tree.project, inside
        async with self.of_project(tree.project) as db:
            rows = await db.fetch(_DEFINED, *values)
        return [candidate(row) for row in rows]

    async def texts(self, tree: IndexedTree, chunks: Sequence[int]) -> Mapping[int, str]:
        query = "SELECT id, content FROM code_chunks WHERE id = ANY ($1) AND project = $2"
        async with self.of_project(tree.project) as db:
            rows = await db.fetch(query, list(chunks), tree.project)
        return {int(row["id"]): str(row["content"]) for row in rows}

    async def symbols(
        self, tree: IndexedTree, paths: Collection[str]
    ) -> Mapping[str, Sequence[str]]:
        async with self.of_project(tree.project) as db:
            rows = await db.fetch(_SYMBOLS, tree.id, storable(paths))
        found: dict[str, dict[str, None]] = {}
        for row in rows:
            found.setdefault(row["path"], {}).update(dict.fromkeys(row["symbols"]))
        return {path: tuple(names) for path, names in found.items()}

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
            dropped = await db.execute(_FORGET_TREES, project, keep)
            await db.execute(_FORGET_BLOBS, project)
            if not keep:
                await postgres_changes.forget(db, project)
        return int(dropped.split()[-1])

    @asynccontextmanager
    async def of_project(self, project: str) -> AsyncGenerator[Connection]:
        async with self._opening:
            if self._pool is None:
                self._pool = await open_pool(self._dsn, size=_POOL, first=register_vector)
        with translated():
            async with self._pool.acquire() as db, db.transaction():
                await db.execute("SELECT set_config('journeyman.project', $1, true)", project)
                yield db


async def _found(db: Connection, project: str, commit: CommitSha) -> IndexedTree | None:
    query = f"{_TREE} WHERE project = $1 AND commit = $2 AND version = $3"
    row = await db.fetchrow(query, project, commit, VERSION)
    return _tree(row) if row else None


def _rows(blob: int, project: str, index: FileIndex) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for number, chunk in enumerate(index.chunks):
        symbols, context = [clean(s) for s in chunk.symbols], clean(chunk.context)
        text = clean(chunk.text)
        lex = SparseVector(dict(index.vector(number)), DIMENSIONS)
        embedded = digest(document(clean(index.path), context, symbols, text))
        place = (blob, project, chunk.start, chunk.end)
        rows.append((*place, symbols, context, text, lex, embedded))
    return rows


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


def candidate(row: Row) -> Candidate:
    return Candidate(
        id=int(row["id"]),
        path=row["path"],
        kind=Kind(row["kind"]),
        start=int(row["start_line"]),
        end=int(row["end_line"]),
        symbols=tuple(row["symbols"]),
        bm25=max(float(row["score"]), 0.0),
    )
