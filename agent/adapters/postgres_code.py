"""The code of projects in PostgreSQL: BM25 as pgvector's sparse inner product.

Each transaction names its project, and row-level security shows it that project's rows alone.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pgvector import SparseVector
from pgvector.asyncpg import register_vector

from agent.adapters.postgres import Connection, Pool, Row, open_pool, translated
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
_AT_ONCE = 200  #: files that are stored in one transaction

_TREE = "SELECT id, project, commit, files, lines, chunks, built_at FROM code_trees"
_MISSING = """
SELECT path, blob FROM unnest($2::text[], $3::text[]) AS wanted (path, blob)
WHERE NOT EXISTS (
    SELECT FROM code_blobs b WHERE b.project = $1 AND b.path = wanted.path
    AND b.blob = wanted.blob AND b.version = $4)"""
_ADD = """
INSERT INTO code_blobs (project, path, blob, version, kind, language, lines)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING id"""
_CHUNK = """
INSERT INTO code_chunks (
    blob_id, project, start_line, end_line, symbols, context, content, lex)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"""  # COPY knows no row-level security
_NEW = """
INSERT INTO code_trees (project, commit, version, files, lines, chunks, frequencies)
VALUES ($1, $2, $3, 0, 0, 0, '') RETURNING id"""
_MEMBERS = """
INSERT INTO code_members (tree_id, blob_id, project)
SELECT $1, b.id, $2 FROM unnest($3::text[], $4::text[]) AS wanted (path, blob)
JOIN code_blobs b USING (path, blob) WHERE b.project = $2 AND b.version = $5"""
_CANDIDATE = """
SELECT c.id, b.path, b.kind, c.start_line, c.end_line, c.symbols, -(c.lex <#> $2) AS score
FROM code_members m JOIN code_blobs b ON b.id = m.blob_id JOIN code_chunks c ON c.blob_id = b.id
WHERE m.tree_id = $1"""
_BEST = f"{_CANDIDATE} AND NOT b.path = ANY ($3) ORDER BY c.lex <#> $2 LIMIT $4"
_ALSO = f"""
SELECT DISTINCT ON (path) * FROM ({_CANDIDATE} AND b.path = ANY ($3)) AS found
ORDER BY path, score DESC"""
_DEFINED = f"{_CANDIDATE} AND c.symbols && $3 ORDER BY b.path, c.start_line LIMIT 200"
_FORGET_TREES = """
DELETE FROM code_trees WHERE project = $1 AND id NOT IN (
    SELECT id FROM code_trees WHERE project = $1 ORDER BY built_at DESC, id DESC LIMIT $2)"""
_FORGET_BLOBS = """
DELETE FROM code_blobs b WHERE b.project = $1
AND NOT EXISTS (SELECT FROM code_members m WHERE m.blob_id = b.id)"""


class PostgresCode:
    """Implements `agent.retrieval.store.CodeStore`. Its connections are opened at first use."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()
        self._known: dict[int, tuple[NDArray[np.int32], NDArray[np.int32]]] = {}

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    async def tree(self, project: str, commit: CommitSha) -> IndexedTree | None:
        async with self._of(project) as db:
            return await _found(db, project, commit)

    async def newest(self, project: str) -> IndexedTree | None:
        query = (
            f"{_TREE} WHERE project = $1 AND version = $2 ORDER BY built_at DESC, id DESC LIMIT 1"
        )
        async with self._of(project) as db:
            row = await db.fetchrow(query, project, VERSION)
        return _tree(row) if row else None

    async def missing(self, project: str, files: Sequence[TreeFile]) -> Sequence[TreeFile]:
        paths, blobs = [f.path for f in files], [f.blob for f in files]
        async with self._of(project) as db:
            rows = await db.fetch(_MISSING, project, paths, blobs, VERSION)
        return [TreeFile(path=str(row["path"]), blob=str(row["blob"])) for row in rows]

    async def add(self, project: str, files: Sequence[tuple[TreeFile, FileIndex | None]]) -> None:
        for begin in range(0, len(files), _AT_ONCE):
            async with self._of(project) as db:
                chunks: list[tuple[Any, ...]] = []
                for file, index in files[begin : begin + _AT_ONCE]:
                    about = (index.kind, index.language, index.lines) if index else ("", "", 0)
                    id = await db.fetchval(_ADD, project, file.path, file.blob, VERSION, *about)
                    if id is not None and index is not None:
                        chunks += _rows(id, project, index)
                if chunks:
                    await cast("Any", db).executemany(_CHUNK, chunks)

    async def settle(
        self, project: str, commit: CommitSha, files: Sequence[TreeFile]
    ) -> IndexedTree:
        async with self._of(project) as db:
            await db.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", _LOCK, project)
            if (there := await _found(db, project, commit)) is not None:
                return there
            base = await db.fetchrow(
                "SELECT id, frequencies FROM code_trees WHERE project = $1 AND version = $2"
                " ORDER BY built_at DESC, id DESC LIMIT 1",
                *(project, VERSION),
            )
            tree = await db.fetchval(_NEW, *(project, commit, VERSION))
            paths, blobs = [f.path for f in files], [f.blob for f in files]
            await db.execute(_MEMBERS, tree, project, paths, blobs, VERSION)
            having = await _having(db, tree, base)
            await db.execute(_COUNT, tree, _packed(having))
            settled = await _found(db, project, commit)
            assert settled is not None
            return settled

    async def frequencies(self, tree: IndexedTree, tokens: Collection[int]) -> Frequencies:
        if tree.id not in self._known:
            async with self._of(tree.project) as db:
                packed = await db.fetchval(
                    "SELECT frequencies FROM code_trees WHERE id = $1", tree.id
                )
            if len(self._known) > 64:
                self._known.clear()
            self._known[tree.id] = _unpacked(packed or b"")
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
    ) -> Sequence[Candidate]:
        asked = SparseVector(dict(query), DIMENSIONS)
        async with self._of(tree.project) as db:
            rows = list(await db.fetch(_BEST, tree.id, asked, list(without), most))
            have = {str(row["path"]) for row in rows}
            if more := [path for path in also if path not in have and path not in without]:
                rows += await db.fetch(_ALSO, tree.id, asked, more)
        return [_candidate(row) for row in rows]

    async def defined(self, tree: IndexedTree, names: Collection[str]) -> Sequence[Candidate]:
        nothing = SparseVector({}, DIMENSIONS)
        async with self._of(tree.project) as db:
            rows = await db.fetch(_DEFINED, tree.id, nothing, list(names))
        return [_candidate(row) for row in rows]

    async def texts(self, tree: IndexedTree, chunks: Sequence[int]) -> Mapping[int, str]:
        query = "SELECT id, content FROM code_chunks WHERE id = ANY ($1)"
        async with self._of(tree.project) as db:
            rows = await db.fetch(query, list(chunks))
        return {int(row["id"]): str(row["content"]) for row in rows}

    async def remember(self, project: str, changes: Sequence[Change]) -> None:
        query = (
            "INSERT INTO code_changes (project, id, at, title, paths)"
            " VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"
        )
        rows = [(project, c.id, c.at, _text(c.title), [_text(p) for p in c.paths]) for c in changes]
        async with self._of(project) as db:
            await cast("Any", db).executemany(query, rows)

    async def changes(self, project: str, most: int) -> Sequence[Change]:
        query = (
            "SELECT id, at, title, paths FROM code_changes WHERE project = $1"
            " ORDER BY at DESC LIMIT $2"
        )
        async with self._of(project) as db:
            rows = await db.fetch(query, project, most)
        return [
            Change(id=row["id"], at=row["at"], title=row["title"], paths=tuple(row["paths"]))
            for row in rows
        ]

    async def forget(self, project: str, *, keep: int) -> int:
        async with self._of(project) as db:
            await db.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", _LOCK, project)
            dropped = await db.execute(_FORGET_TREES, project, keep)
            await db.execute(_FORGET_BLOBS, project)
        return int(dropped.split()[-1])

    @asynccontextmanager
    async def _of(self, project: str) -> AsyncGenerator[Connection]:
        async with self._opening:
            if self._pool is None:
                self._pool = await open_pool(self._dsn, size=_POOL, first=register_vector)
        with translated():
            async with self._pool.acquire() as db, db.transaction():
                await db.execute("SELECT set_config('journeyman.project', $1, true)", project)
                yield db


_COUNT = """
UPDATE code_trees SET frequencies = $2, files = counted.files, lines = counted.lines,
    chunks = counted.chunks
FROM (
    SELECT count(DISTINCT b.id) FILTER (WHERE b.kind <> '') AS files, count(c.id) AS chunks,
        (SELECT coalesce(sum(b2.lines), 0) FROM code_members m2 JOIN code_blobs b2
         ON b2.id = m2.blob_id WHERE m2.tree_id = $1) AS lines
    FROM code_members m JOIN code_blobs b ON b.id = m.blob_id
    LEFT JOIN code_chunks c ON c.blob_id = b.id WHERE m.tree_id = $1
) AS counted WHERE id = $1"""
_ONLY_IN = """
SELECT c.lex FROM code_members m JOIN code_chunks c USING (blob_id) WHERE m.tree_id = $1
AND NOT EXISTS (SELECT FROM code_members o WHERE o.tree_id = $2 AND o.blob_id = m.blob_id)"""


async def _found(db: Connection, project: str, commit: CommitSha) -> IndexedTree | None:
    query = f"{_TREE} WHERE project = $1 AND commit = $2 AND version = $3"
    row = await db.fetchrow(query, project, commit, VERSION)
    return _tree(row) if row else None


async def _having(db: Connection, tree: int, base: Row | None) -> NDArray[np.int32]:
    """In how many chunks each token is: those of the tree before, and the difference."""
    having = np.zeros(DIMENSIONS, dtype=np.int32)
    if base is not None:
        tokens, counts = _unpacked(base["frequencies"])
        having[tokens] = counts
        having -= await _counted(db, int(base["id"]), tree)
    having += await _counted(db, tree, int(base["id"]) if base is not None else 0)
    return having


async def _counted(db: Connection, of: int, without: int) -> NDArray[np.int32]:
    counted = np.zeros(DIMENSIONS, dtype=np.int32)
    cursor: Any = cast("Any", db).cursor(_ONLY_IN, of, without, prefetch=500)
    async for row in cursor:
        counted[cast("SparseVector", row["lex"]).indices()] += 1
    return counted


def _packed(having: NDArray[np.int32]) -> bytes:
    tokens = np.flatnonzero(having).astype("<i4")
    return zlib.compress(tokens.tobytes() + having[tokens].astype("<i4").tobytes(), 1)


def _unpacked(packed: bytes) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    both = np.frombuffer(zlib.decompress(packed) if packed else b"", dtype="<i4")
    return both[: len(both) // 2], both[len(both) // 2 :]


def _rows(blob: int, project: str, index: FileIndex) -> list[tuple[Any, ...]]:
    return [
        (
            *(blob, project, chunk.start, chunk.end, [_text(s) for s in chunk.symbols]),
            *(_text(chunk.context), _text(chunk.text)),
            SparseVector(dict(index.vector(number)), DIMENSIONS),
        )
        for number, chunk in enumerate(index.chunks)
    ]


def _text(text: str) -> str:
    """PostgreSQL takes neither NUL nor half a surrogate pair."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()


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


def _candidate(row: Row) -> Candidate:
    return Candidate(
        id=int(row["id"]),
        path=row["path"],
        kind=Kind(row["kind"]),
        start=int(row["start_line"]),
        end=int(row["end_line"]),
        symbols=tuple(row["symbols"]),
        bm25=max(float(row["score"]), 0.0),
    )
