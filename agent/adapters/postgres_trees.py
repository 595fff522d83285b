"""Makes a tree of files whose contents are known: which they are, and in how many of its chunks
each token is. Only the difference to the tree before is looked at.

Rows are found by keys that Python holds: under row-level security PostgreSQL guesses that a project
has one row, and a join of two such guesses took 17 seconds for 8,000 files.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Collection, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from agent.adapters.postgres import Connection
from agent.adapters.postgres_chunks import SHIFT, weights
from agent.retrieval.kinds import Kind
from agent.retrieval.postings import Gathered, Posted, Postings
from agent.retrieval.store import VERSION, TreeFile
from agent.retrieval.tokens import DIMENSIONS
from agent.run import CommitSha

Ints = NDArray[np.int32]

_IDS = """
SELECT (
    SELECT b.id FROM code_blobs b WHERE b.project = $1 AND b.path = wanted.path
    AND b.blob = wanted.blob AND b.version = $4) AS id
FROM unnest($2::text[], $3::text[]) AS wanted (path, blob)"""
_BEFORE = """
SELECT id, chunks, frequencies FROM code_trees WHERE project = $1 AND version = $2
ORDER BY built_at DESC, id DESC LIMIT 1"""
_SIZE = """
SELECT count(*) FILTER (WHERE kind <> '') AS files, coalesce(sum(lines), 0) AS lines
FROM code_blobs WHERE id = ANY ($1)"""
_NEW = """
INSERT INTO code_trees (project, commit, version, files, lines, chunks, frequencies, blobs)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"""
_POSTINGS = """
SELECT b.id, b.path, b.kind, b.spans, b.symbols, array_send(b.lex) AS lex
FROM code_members m JOIN code_blobs b ON b.id = m.blob_id WHERE m.tree_id = $1 ORDER BY b.id"""
_AT_ONCE = 20  #: files whose weights are read at once; of one, they can be a megabyte


async def make_tree(
    db: Connection, project: str, commit: CommitSha, files: Sequence[TreeFile]
) -> bool:
    """False: some content is not known, or not any more. Nobody else may make one meanwhile."""
    paths, blobs = [f.path for f in files], [f.blob for f in files]
    rows = await db.fetch(_IDS, project, paths, blobs, VERSION)
    found = {int(row["id"]) for row in rows if row["id"] is not None}
    if len(found) < len(files):
        return False
    chunks, having, known = 0, np.zeros(DIMENSIONS, dtype=np.int32), set[int]()
    before = await db.fetchrow(_BEFORE, project, VERSION)
    if before is not None:
        query = "SELECT blob_id FROM code_members WHERE tree_id = $1"
        known = {int(row["blob_id"]) for row in await db.fetch(query, before["id"])}
        tokens, counts = unpacked(before["frequencies"])
        having[tokens] = counts
        gone, less = await _counted(db, known - found)
        chunks, having = int(before["chunks"]) - gone, having - less
    come, more = await _counted(db, found - known)
    size = await db.fetchrow(_SIZE, sorted(found))
    assert size is not None
    about = (int(size["files"]), int(size["lines"]), chunks + come, _packed(having + more))
    await db.execute(_NEW, project, commit, VERSION, *about, sorted(found))
    return True


async def _counted(db: Connection, blobs: Collection[int]) -> tuple[int, Ints]:
    """How many chunks they have, and in how many of these each token is."""
    chunks, having = 0, np.zeros(DIMENSIONS, dtype=np.int32)
    if blobs:
        query = "SELECT array_send(lex) AS lex FROM code_blobs WHERE id = ANY ($1)"
        async for row in cast("Any", db).cursor(query, sorted(blobs), prefetch=_AT_ONCE):
            for tokens, _ in weights(row["lex"]):
                having[tokens] += 1
                chunks += 1
    return chunks, having


async def postings(db: Connection, tree: int) -> Postings:
    """What the tree needs in memory to be asked there."""
    gathered = Gathered()
    async for row in cast("Any", db).cursor(_POSTINGS, tree, prefetch=_AT_ONCE):
        vectors = [*weights(row["lex"])]
        if vectors:
            posted = Posted(
                path=row["path"],
                kind=Kind(row["kind"]),
                first=int(row["id"]) << SHIFT,
                spans=row["spans"],
                symbols=row["symbols"],
                tokens=np.concatenate([tokens for tokens, _ in vectors]),
                weights=np.concatenate([values for _, values in vectors]),
                sizes=[len(tokens) for tokens, _ in vectors],
            )
            gathered.add(posted)
    return await asyncio.to_thread(Postings, gathered)


def _packed(having: Ints) -> bytes:
    tokens = np.flatnonzero(having)
    steps = np.diff(tokens, prepend=0).astype("<i4")
    # the four bytes of numbers apart: most of them are zero
    both = np.concatenate([steps, having[tokens].astype("<i4")]).view(np.uint8)
    return zlib.compress(both.reshape(-1, 4).T.tobytes())


def unpacked(packed: bytes) -> tuple[Ints, Ints]:
    """The tokens in order, and of each in how many chunks it is."""
    apart = np.frombuffer(zlib.decompress(packed) if packed else b"", dtype=np.uint8)
    both = np.ascontiguousarray(apart.reshape(4, -1).T).view("<i4").ravel()
    return np.cumsum(both[: len(both) // 2], dtype=np.int32), both[len(both) // 2 :]
