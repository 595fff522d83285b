"""Many projects in one database: does one of them notice the others?"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

from agent.adapters.database import Database
from agent.adapters.embedded_postgres import EmbeddedPostgres
from agent.adapters.postgres import connect
from agent.retrieval.store import IndexedTree
from agent.run import CommitSha
from benchmarks.retrieval.trees import Forest
from benchmarks.table import Row, Table

SECONDS = 150  #: of copying
_COPY = """
WITH blobs AS (
    INSERT INTO code_blobs (project, path, blob, version, kind, language, lines,
        spans, symbols, contexts, contents, lex, digests)
    SELECT $1, path, blob, version, kind, language, lines,
        spans, symbols, contexts, contents, lex, digests
    FROM code_blobs WHERE project = 'bench'
    RETURNING id, path, blob
), old AS (SELECT id, path, blob FROM code_blobs WHERE project = 'bench'
), pairs AS (SELECT blobs.id AS new, old.id AS old FROM blobs JOIN old USING (path, blob)
), tree AS (
    INSERT INTO code_trees (project, commit, version, files, lines, chunks, frequencies, blobs)
    SELECT $1, commit, version, files, lines, chunks, frequencies, ARRAY (
        SELECT pairs.new FROM code_members m JOIN pairs ON pairs.old = m.blob_id
        WHERE m.tree_id = $3 ORDER BY pairs.new)
    FROM code_trees WHERE project = 'bench' AND commit = $2
)
INSERT INTO code_changes (project, id, at, title, paths)
SELECT $1, id, at, title, paths FROM code_changes WHERE project = 'bench'
"""
Latencies = Callable[[Database, IndexedTree, Sequence[str]], Awaitable[list[float]]]


async def crowd(
    db: Database, home: Path, forest: Forest, projects: int, latencies: Latencies
) -> Table:
    """Copies of the project of the benchmark, row by row."""
    queries = forest.subjects(200)[:40]
    alone = await db.code.tree("bench", CommitSha(forest.head))
    assert alone is not None
    before = await latencies(db, alone, queries)
    async with EmbeddedPostgres(home) as server:
        owner = cast("Any", await connect(server.admin_dsn))
        began, made = time.monotonic(), 0
        while made < projects and time.monotonic() - began < SECONDS:
            made += 1
            await owner.execute(_COPY, f"p{made}", alone.commit, alone.id)
        took = time.monotonic() - began
        chunks = await owner.fetchval("SELECT sum(cardinality(symbols)) FROM code_blobs")
        await owner.execute("ANALYZE")
        await owner.close()
    rows = [Row(what="alone, 95 % are faster", value=_p95(before), unit="ms",
                note=f"half: {before[len(before) // 2]:.0f} ms")]  # fmt: skip
    for name in ("p1", f"p{made // 2}", f"p{made}"):
        tree = await db.code.tree(name, alone.commit)
        assert tree is not None
        times = await latencies(db, tree, queries)
        rows.append(Row(what=f"project {name[1:]} of {made}, 95 % are faster", value=_p95(times),
                        unit="ms", limit=1.5 * _p95(before),
                        note=f"half: {times[len(times) // 2]:.0f} ms"))  # fmt: skip
    title = (
        f"{chunks:,} chunks of {made} projects of {alone.lines:,} lines (copied in {took:.0f} s)"
    )
    return Table(title=title, rows=rows)


def _p95(times: Sequence[float]) -> float:
    return times[int(len(times) * 0.95)]
