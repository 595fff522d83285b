"""How chunks lie in PostgreSQL: a row a file, which holds each of their parts as an array, so that
what they repeat is compressed together. The view `code_chunks` shows them one by one.

The id of a chunk is its file's, shifted, and its place in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pgvector import SparseVector

from agent.adapters.postgres import Row
from agent.adapters.postgres_changes import clean
from agent.retrieval.embed import digest, document
from agent.retrieval.kinds import Kind
from agent.retrieval.memory import FileIndex
from agent.retrieval.ranking import Candidate
from agent.retrieval.tokens import DIMENSIONS

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]

SHIFT = 20  #: bits of the place in the file; each chunk has a line of at most 1 MB


def about(place: str) -> str:
    """Columns of a candidate: of the file `b`, the chunk at a place from 0."""
    return f"""(b.id << {SHIFT}) | ({place}) AS id, b.path, b.kind,
    b.spans[2 * ({place}) + 1] AS start_line, b.spans[2 * ({place}) + 2] AS end_line,
    string_to_array(b.symbols[({place}) + 1], E'\\n') AS symbols"""


def place_of(id: str) -> str:
    return f"({id} & {(1 << SHIFT) - 1})::integer"


#: The files are known before: asked by project and path, each chunk of a tree would look them up.
AT = "ARRAY (SELECT id FROM code_blobs WHERE project = $3 AND path = ANY ($4))"
INSIDE = """ AND m.blob_id IN (SELECT id FROM code_blobs
    WHERE project = {project} AND (path = {folder} OR starts_with(path, {folder} || '/')))"""
_WEIGHED = """
FROM code_members m JOIN code_blobs b ON b.id = m.blob_id,
    unnest(b.lex) WITH ORDINALITY AS c (lex, n)
WHERE m.tree_id = $1"""
_BEST = f"""
WITH best AS MATERIALIZED (
    SELECT m.blob_id, (c.n - 1)::integer AS n, c.lex <#> $2 AS distance
    {_WEIGHED} AND m.blob_id <> ALL ({AT})%s ORDER BY distance LIMIT $5)
SELECT {about("best.n")}, -best.distance AS score
FROM best JOIN code_blobs b ON b.id = best.blob_id
WHERE distance < 0 AND b.project = $3 ORDER BY distance"""
BEST, BEST_INSIDE = _BEST % "", _BEST % INSIDE.format(project="$3", folder="$6")
ALSO = f"""
SELECT DISTINCT ON (b.path) {about("(c.n - 1)::integer")}, -(c.lex <#> $2) AS score
{_WEIGHED} AND m.blob_id = ANY ({AT}) ORDER BY b.path, score DESC, c.n"""
DEFINED = f"""
SELECT {about("(c.n - 1)::integer")}, 0 AS score
FROM code_members m JOIN code_blobs b ON b.id = m.blob_id,
    unnest(b.symbols) WITH ORDINALITY AS c (symbols, n)
WHERE m.tree_id = $1 AND b.project = $2 AND string_to_array(c.symbols, E'\\n') && $3
AND ($4 = '' OR b.path = $4 OR starts_with(b.path, $4 || '/'))
ORDER BY (b.kind = 'source') DESC, b.path, start_line LIMIT 200"""
SYMBOLS = """
SELECT b.path, b.symbols FROM code_members m JOIN code_blobs b ON b.id = m.blob_id
WHERE m.tree_id = $1 AND b.path = ANY ($2)"""
TEXTS = f"""
SELECT wanted.id, b.contents[{place_of("wanted.id")} + 1] AS content
FROM unnest($1::bigint[]) AS wanted (id) JOIN code_blobs b ON b.id = wanted.id >> {SHIFT}
WHERE b.project = $2"""
ADD = """
INSERT INTO code_blobs (project, version, path, blob, kind, language, lines,
    spans, symbols, contexts, contents, lex, digests)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT DO NOTHING"""  # COPY knows no row-level security


def stored(index: FileIndex | None) -> tuple[Any, ...]:
    """Of `ADD`, from `kind` on."""
    if index is None:
        return ("", "", 0, [], [], [], [], [], b"")
    path, chunks = clean(index.path), index.chunks
    symbols = [[clean(" ".join(s.split())) for s in chunk.symbols] for chunk in chunks]
    contexts = [clean(chunk.context) for chunk in chunks]
    texts = [clean(chunk.text) for chunk in chunks]
    return (
        *(index.kind, index.language, index.lines),
        [line for chunk in chunks for line in (chunk.start, chunk.end)],
        ["\n".join(names) for names in symbols],
        contexts,
        texts,
        [SparseVector(dict(index.vector(n)), DIMENSIONS) for n in range(len(chunks))],
        b"".join(
            digest(document(path, context, names, text))
            for context, names, text in zip(contexts, symbols, texts, strict=True)
        ),
    )


def weights(sent: bytes) -> Iterator[tuple[Ints, Floats]]:
    """Tokens and weights of each chunk, of what `array_send(lex)` gives: numbers of four bytes
    throughout, five of the array, four before each vector."""
    numbers, floats = np.frombuffer(sent, ">i4"), np.frombuffer(sent, ">f4")
    at = 5
    while at < len(numbers):
        count = int(numbers[at + 2])
        begin, middle = at + 4, at + 4 + count
        at = middle + count
        yield numbers[begin:middle].astype(np.int32), floats[middle:at].astype(np.float32)


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
