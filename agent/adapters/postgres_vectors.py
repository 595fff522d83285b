"""Vectors of code in PostgreSQL: `halfvec` by content and model, scanned exactly.

No nearest-neighbour index: filtered by project it would lose most of the answer, and one tree is
scanned in milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import numpy as np
from pgvector import HalfVector, SparseVector

from agent.adapters.postgres import Connection, Row, connect
from agent.adapters.postgres_chunks import INSIDE, SHIFT, about, candidate, place_of
from agent.adapters.postgres_code import PostgresCode, storable
from agent.adapters.vector_cache import Key, Matrix, VectorCache
from agent.errors import ModelRejected, StoreUnavailable
from agent.retrieval.embed import Embedded, Vectors, document
from agent.retrieval.lexical import Vector
from agent.retrieval.ranking import Candidate
from agent.retrieval.store import IndexedTree
from agent.retrieval.tokens import DIMENSIONS
from agent.retrieval.vectors import Spent, Standing, Wanted

_LOCK = 7010  #: of whoever embeds with a model
_EDITED = 20  #: chunks of an edited file that can be among the nearest
_FRESH = 10.0  #: seconds that a standing is believed

_CHUNKS = """
FROM code_members m JOIN code_blobs b ON b.id = m.blob_id JOIN code_chunks c ON c.blob_id = b.id
"""
_STANDING = f"""
SELECT count(*) AS chunks, count(e.model) AS embedded,
    count(*) FILTER (WHERE b.kind = 'source') AS source,
    count(e.model) FILTER (WHERE b.kind = 'source') AS source_embedded,
    (SELECT dimensions FROM embedding_models WHERE model = $2) AS dimensions
{_CHUNKS} LEFT JOIN chunk_embeddings e ON e.content_sha = c.content_sha AND e.model = $2
WHERE m.tree_id = $1"""
_NEAR_OF = f"""
SELECT {about(place_of("near.id"))}, -(b.lex[{place_of("near.id")} + 1] <#> $4) AS score,
    near.cosine
FROM (
    SELECT c.id, 1 - (e.v <=> $3) AS cosine
    FROM code_members m JOIN code_chunks c ON c.blob_id = m.blob_id
    JOIN chunk_embeddings e ON e.content_sha = c.content_sha AND e.model = $2
    WHERE m.tree_id = $1 AND m.blob_id <> ALL (
        ARRAY (SELECT id FROM code_blobs WHERE project = $5 AND path = ANY ($6)))%s
    ORDER BY e.v <=> $3 LIMIT $7
) AS near JOIN code_blobs b ON b.id = near.id >> {SHIFT}
ORDER BY near.cosine DESC"""
_NEAR, _NEAR_INSIDE = _NEAR_OF % "", _NEAR_OF % INSIDE.format(project="$5", folder="$8")
_ALL = """
SELECT c.id, e.v FROM code_members m JOIN code_chunks c ON c.blob_id = m.blob_id
JOIN chunk_embeddings e ON e.content_sha = c.content_sha AND e.model = $2 WHERE m.tree_id = $1"""
_THESE = f"""
SELECT {about(place_of("wanted.id"))}, -(b.lex[{place_of("wanted.id")} + 1] <#> $2) AS score
FROM unnest($1::bigint[]) AS wanted (id) JOIN code_blobs b ON b.id = wanted.id >> {SHIFT}
WHERE NOT b.path = ANY ($3)"""
# Vectors are shared by all projects: that there is one tells what another project holds.
_COSINES = """
SELECT e.content_sha, 1 - (e.v <=> $2) AS cosine FROM chunk_embeddings e
WHERE e.model = $1 AND e.content_sha = ANY (ARRAY (
    SELECT c.content_sha FROM code_blobs b JOIN code_chunks c ON c.blob_id = b.id
    WHERE b.project = $4 AND b.path = ANY ($5) AND c.content_sha = ANY ($3)))"""
_WANTING = f"""
SELECT chunk, content_sha FROM (
    SELECT DISTINCT ON (c.content_sha) c.id AS chunk, c.content_sha, b.kind <> 'source' AS later
    {_CHUNKS} WHERE m.tree_id = $1 AND c.content_sha IS NOT NULL AND NOT EXISTS (
        SELECT FROM chunk_embeddings e WHERE e.content_sha = c.content_sha AND e.model = $2)
    ORDER BY c.content_sha, c.id
) AS wanting ORDER BY later, chunk LIMIT $3"""
# Ids as a table: by `ANY`, PostgreSQL starts from all files of the project, which it takes for few.
_DOCUMENTS = f"""
SELECT {about(place_of("wanted.id"))}, b.contexts[{place_of("wanted.id")} + 1] AS context,
    b.contents[{place_of("wanted.id")} + 1] AS content
FROM unnest($1::bigint[]) AS wanted (id) JOIN code_blobs b ON b.id = wanted.id >> {SHIFT}"""
_MODEL = """
INSERT INTO embedding_models (model, dimensions) VALUES ($1, $2)
ON CONFLICT (model) DO UPDATE SET wanted_at = now() RETURNING dimensions"""


class PostgresVectors:
    """Implements `agent.retrieval.vectors.VectorStore`."""

    def __init__(self, dsn: str, code: PostgresCode) -> None:
        self._dsn = dsn
        self._code = code
        self._cache = VectorCache(read=self._read, room=code.kept.room)
        self._standing: dict[tuple[int, str], tuple[float, Standing]] = {}

    async def standing(self, tree: IndexedTree, wanted: str) -> Standing:
        async with self._code.of_project(tree.project) as db:
            model = await _generation(db, tree.project) or wanted
            at, known = self._standing.get((tree.id, model), (0.0, None))
            if known is not None and (
                known.embedded >= known.chunks or time.monotonic() - at < _FRESH
            ):
                return known
            row = await db.fetchrow(_STANDING, tree.id, model)
        assert row is not None
        found = Standing(
            model=model,
            chunks=int(row["chunks"]),
            embedded=int(row["embedded"]),
            source=int(row["source"]),
            source_embedded=int(row["source_embedded"]),
            dimensions=row["dimensions"],
        )
        if len(self._standing) > 256:
            self._standing.clear()
        self._standing[tree.id, model] = (time.monotonic(), found)
        return found

    async def near(
        self,
        tree: IndexedTree,
        model: str,
        vector: Vectors,
        query: Vector,
        *,
        most: int,
        without: Collection[str] = (),
        inside: str = "",
    ) -> Sequence[Candidate]:
        words = SparseVector(dict(query), DIMENSIONS)
        if not storable([inside]):
            return ()
        known = None if inside else self._matrix(tree, model)
        if known is not None and known.vectors.shape[1] == len(vector):
            cosines = known.near(vector, most + _EDITED * len(without))
            async with self._code.of_project(tree.project) as db:
                rows = await db.fetch(_THESE, list(cosines), words, storable(without))
            found = [replace(candidate(row), cosine=cosines[int(row["id"])]) for row in rows]
            return sorted(found, key=lambda each: -cosines[each.id])[:most]
        asked = (tree.id, model, HalfVector(vector), words, tree.project, storable(without), most)
        async with self._code.of_project(tree.project) as db:
            if inside:
                rows = await db.fetch(_NEAR_INSIDE, *asked, inside)
            else:
                rows = await db.fetch(_NEAR, *asked)
        return [replace(candidate(row), cosine=float(row["cosine"])) for row in rows]

    def _matrix(self, tree: IndexedTree, model: str) -> Matrix | None:
        _, standing = self._standing.get((tree.id, model), (0.0, None))
        if standing is None or standing.embedded < standing.chunks or not standing.dimensions:
            return None
        key = Key(
            project=tree.project,
            tree=tree.id,
            model=model,
            chunks=standing.chunks,
            dimensions=standing.dimensions,
        )
        return self._cache.get(key, key.nbytes)

    async def _read(self, key: Key) -> Matrix:
        chunks = np.empty(key.chunks, dtype=np.int64)
        vectors = np.empty((key.chunks, key.dimensions), dtype=np.float32)
        read = 0
        async with self._code.of_project(key.project) as db:
            cursor: Any = cast("Any", db).cursor(_ALL, key.tree, key.model, prefetch=500)
            async for row in cursor:
                chunks[read], vectors[read] = row["id"], row["v"].to_numpy()
                read += 1
        if read < key.chunks:
            raise StoreUnavailable("Some vectors of the tree were forgotten while it was read.")
        return Matrix(chunks=chunks, vectors=vectors)

    async def close(self) -> None:
        await self._cache.close()

    async def cosines(
        self,
        tree: IndexedTree,
        model: str,
        vector: Vectors,
        contents: Collection[bytes],
        paths: Collection[str],
    ) -> Mapping[bytes, float]:
        async with self._code.of_project(tree.project) as db:
            rows = await db.fetch(
                *(_COSINES, model, HalfVector(vector), list(contents)),
                *(tree.project, storable(paths)),
            )
        return {bytes(row["content_sha"]): float(row["cosine"]) for row in rows}

    async def wanting(self, tree: IndexedTree, model: str, most: int) -> Sequence[Wanted]:
        async with self._code.of_project(tree.project) as db:
            rows = await db.fetch(_WANTING, tree.id, model, most)
        return [Wanted(chunk=int(row["chunk"]), content=row["content_sha"]) for row in rows]

    async def documents(self, tree: IndexedTree, chunks: Sequence[int]) -> Sequence[str]:
        async with self._code.of_project(tree.project) as db:
            rows = await db.fetch(_DOCUMENTS, list(chunks))
        texts = {
            int(r["id"]): document(r["path"], r["context"], r["symbols"], r["content"])
            for r in rows
        }
        return [texts[chunk] for chunk in chunks if chunk in texts]

    async def keep(self, model: str, contents: Sequence[bytes], made: Embedded) -> None:
        dimensions = made.vectors.shape[1]
        async with self._code.of_project("") as db:
            known = await db.fetchval(_MODEL, model, dimensions)
            if known != dimensions:
                raise ModelRejected(
                    f"The model {model} gave {known} dimensions before and gives {dimensions} now;"
                    " nothing of it is kept. Give a model that changed another name in"
                    " [embeddings]."
                )
            rows = [(c, model, HalfVector(v)) for c, v in zip(contents, made.vectors, strict=True)]
            await cast("Any", db).executemany(
                "INSERT INTO chunk_embeddings (content_sha, model, v) VALUES ($1, $2, $3)"
                " ON CONFLICT DO NOTHING",
                rows,
            )
            await db.execute(
                "UPDATE embedding_models SET tokens = tokens + $2, money = money + $3"
                " WHERE model = $1",
                *(model, made.tokens, made.money),
            )

    async def generation(self, project: str) -> str | None:
        async with self._code.of_project(project) as db:
            return await _generation(db, project)

    async def switch(self, project: str, model: str) -> None:
        async with self._code.of_project(project) as db:
            await db.execute(
                "INSERT INTO code_generations (project, model) VALUES ($1, $2)"
                " ON CONFLICT (project) DO UPDATE SET model = $2, switched_at = now()",
                *(project, model),
            )

    async def forget(self, model: str, idle: timedelta) -> int:
        async with self._code.of_project("") as db:
            await db.execute(
                "UPDATE embedding_models SET wanted_at = now() WHERE model = $1", model
            )
            return int(await db.fetchval("SELECT forget_embeddings($1, $2)", model, idle))

    async def spent(self, model: str) -> Spent:
        query = (
            "SELECT tokens, money, (SELECT count(*) FROM chunk_embeddings WHERE model = $1)"
            " AS vectors FROM embedding_models WHERE model = $1"
        )
        async with self._code.of_project("") as db:
            row: Row = await db.fetchrow(query, model) or {}
        return Spent(
            vectors=int(row.get("vectors", 0)),
            tokens=int(row.get("tokens", 0)),
            money=float(row.get("money", 0.0)),
        )

    @asynccontextmanager
    async def alone(self, model: str) -> AsyncGenerator[bool]:
        db = await connect(self._dsn)
        try:
            yield bool(
                await db.fetchval("SELECT pg_try_advisory_lock($1, hashtext($2))", _LOCK, model)
            )
        finally:
            await db.close()


async def _generation(db: Connection, project: str) -> str | None:
    return await db.fetchval("SELECT model FROM code_generations WHERE project = $1", project)
