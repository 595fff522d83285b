"""`python -m benchmarks.retrieval.speed REPOSITORY …`: how fast the index of code is made and
asked in PostgreSQL, how large it gets, what `git grep`, ripgrep and semble take for the same words,
and how long somebody waits for a command."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

from rich.console import Console

from agent.adapters import tree_cache
from agent.adapters.database import Database, open_database
from agent.adapters.embedded_postgres import EmbeddedPostgres
from agent.adapters.git_code import GitCode
from agent.adapters.postgres import connect
from agent.adapters.system_clock import SystemClock
from agent.retrieval.indexer import bring_up
from agent.retrieval.search import Searcher
from agent.retrieval.store import IndexedTree
from agent.run import CommitSha
from benchmarks.retrieval.beside import beside
from benchmarks.retrieval.cold import cold
from benchmarks.retrieval.crowd import crowd
from benchmarks.retrieval.serving import cpu
from benchmarks.retrieval.trees import Forest
from benchmarks.scratch import scratch
from benchmarks.table import Row, Table, show

SIZES = (100_000, 1_000_000)  #: lines
LIMITS = {100_000: 50.0, 1_000_000: 150.0}  #: ms
PUSHED = 20  #: files
QUERIES = 60


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieval.speed")
    parser.add_argument("repositories", nargs="+", type=Path)
    parser.add_argument("--projects", type=int, default=200)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    options = parser.parse_args()
    console = Console(width=None if Console().is_terminal else 150)
    tell = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start."
    console.print(tell, "Another load makes times longer.")
    sizes = [int(size) for size in options.sizes.split(",")]
    for table in asyncio.run(_measured(options.repositories, sizes, options.projects)):
        show(table, console)


async def _measured(
    repositories: Sequence[Path], sizes: Sequence[int], projects: int
) -> list[Table]:
    tables: list[Table] = []
    for size in sizes:
        with scratch() as folder:
            forest = Forest(folder / "code.git", repositories)
            forest.grow(size)
            home = folder / "home"
            async with open_database(home=home) as db:
                tables.append(await _one(db, home, forest, size))
                if size == sizes[0] and projects:
                    tables.append(await crowd(db, home, forest, projects, latencies))
        with scratch() as folder:
            tables.append(await asyncio.to_thread(_cold, folder, repositories, size))
    return tables


def _cold(folder: Path, repositories: Sequence[Path], size: int) -> Table:
    forest, load = Forest(folder / "code.git", repositories), os.getloadavg()[0]
    forest.grow(size)
    rows = cold(folder, forest.folder, forest.subjects(4 * QUERIES))
    return Table(
        title=f"From a terminal, {size:,} lines indexed before, load {load:.1f}", rows=rows
    )


async def _one(db: Database, home: Path, forest: Forest, size: int) -> Table:
    source, load = GitCode(forest.folder), os.getloadavg()[0]
    busy, began = cpu(home), time.perf_counter()
    done = await bring_up(db.code, source, "bench", CommitSha(forest.head))
    took, busy = time.perf_counter() - began, cpu(home) - busy
    lines = done.tree.lines
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    rows = [
        Row(what="indexed", value=lines / took, unit="lines/s", limit=20_000, at_least=True,
            baseline=f"{lines / busy:,.0f} a second of a core (ours and PostgreSQL's)",
            note=f"{done.tree.files:,} files, {done.tree.chunks:,} chunks, {took:.1f} s"),
        Row(what="peak memory of the process", value=peak, unit="MB", limit=300),
        *await _sizes(home, lines),
    ]  # fmt: skip
    code = [path for path in forest.paths() if path.endswith((".py", ".go", ".js", ".ts"))]
    step = max(len(code) // PUSHED, 1)
    head = forest.push({p: forest.read(p) + b"\n// another word\n" for p in code[::step][:PUSHED]})
    began = time.perf_counter()
    pushed = await bring_up(db.code, source, "bench", CommitSha(head))
    took = time.perf_counter() - began
    rows.append(Row(what=f"a push of {pushed.read} files", value=took, unit="s", limit=1))
    queries = forest.subjects(4 * QUERIES)[:QUERIES]
    for where, ask, limit in (
        ("in PostgreSQL", latencies, LIMITS.get(size)),
        ("of a tree in memory", _timed, 10.0),
    ):
        if ask is _timed:
            await _timed(db, pushed.tree, queries[: tree_cache.FROM])
            await db.code.kept.idle()
        before = cpu(home)
        times = await ask(db, pushed.tree, queries)
        busy = (cpu(home) - before) / (len(queries) + 1) * 1000
        p50, p95 = times[len(times) // 2], times[int(len(times) * 0.95)]
        note = f"half: {p50:.1f} ms; a core is busy for {busy:.1f} ms of each"
        rows.append(Row(what=f"search {where}, 95 % are faster", value=p95, unit="ms",
                        limit=limit, note=note))  # fmt: skip
    rows += beside(forest, queries, lines)
    title = f"{lines:,} lines of code, load {load:.1f} to {os.getloadavg()[0]:.1f}"
    return Table(title=title, rows=rows)


Latencies = Callable[[Database, IndexedTree, Sequence[str]], Awaitable[list[float]]]


async def latencies(db: Database, tree: IndexedTree, queries: Sequence[str]) -> list[float]:
    """Milliseconds of whole searches, sorted, each of them scored by PostgreSQL."""
    before, tree_cache.FROM = tree_cache.FROM, sys.maxsize
    try:
        return await _timed(db, tree, queries)
    finally:
        tree_cache.FROM = before


async def _timed(db: Database, tree: IndexedTree, queries: Sequence[str]) -> list[float]:
    searcher = Searcher(store=db.code, tree=tree, now=SystemClock().now())
    await searcher.search(queries[0])
    times: list[float] = []
    for query in queries:
        began = time.perf_counter()
        await searcher.search(query)
        times.append((time.perf_counter() - began) * 1000)
    return sorted(times)


async def _sizes(home: Path, lines: int) -> list[Row]:
    async with EmbeddedPostgres(home) as server:
        owner = cast("Any", await connect(server.admin_dsn))
        total = await owner.fetchval(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class"
            " WHERE relname LIKE 'code\\_%' AND relkind = 'r'"
        )
        text = await owner.fetchrow(
            "SELECT sum(octet_length(array_to_string(contents, ''))) AS source,"
            " sum(pg_column_size(contents)) AS stored, sum(pg_column_size(lex)) AS weights,"
            " (SELECT sum(pg_total_relation_size(oid)) FROM pg_class"
            " WHERE relname = 'code_changes') AS past FROM code_blobs"
        )
        await owner.close()
    source = int(text["source"])
    weights, past = int(text["weights"]) / source, int(text["past"]) / source
    of_it = f"of which weights {weights:.3f}, past changes {past:.3f}"
    return [
        Row(what="beside the text as it is stored, of the source",
            value=(int(total) - int(text["stored"])) / source, limit=0.4, note=of_it),
        Row(what="all of the index, of the source", value=int(total) / source,
            note=f"source {source / 1e6:.1f} MB, {lines:,} lines; the text is compressed"),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
