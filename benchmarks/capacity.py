"""What one PostgreSQL carries: what the statements of a run cost it, how many events it takes in a
second, and how it does with a million of them. It writes through to the disk, as the service's own
does; who asks it shares the machine with it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from agent.adapters import event_codec as codec
from agent.adapters.database import Database, open_database
from agent.adapters.postgres_store import PostgresStore
from agent.events import (
    CheckpointTaken,
    Committed,
    EffectDone,
    FileChange,
    RunEnded,
    ToolReturned,
    WorkspaceReady,
    kind_of,
)
from agent.intents import KIND, PublishMergeRequest, Push
from agent.ports import Write
from agent.run import CommitSha, Digest, RunId, RunStatus, TreeSha
from benchmarks.measure import resident
from benchmarks.plain import commits, owner
from benchmarks.scratch import scratch
from benchmarks.table import Row, Table
from benchmarks.takeover import of, step
from benchmarks.town import postgres_cpu
from benchmarks.waiting import RUNS
from benchmarks.writers import add, begun, rate

STEPS = 20  #: of a run, as in the scripted task
WRITERS = (1, 2, 8)
SECONDS, SHORT = 5.0, 3.0
DRY, FEW = 200, 30
CLAIMS = 400
ROWS, THOUSANDS = 1_000_000, 50_000
LONG = 1000  #: events of one run in the large log
DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one run, to PostgreSQL."""

    cpu: float  #: seconds
    events: float
    commits: float
    log: float  #: bytes of write-ahead log
    kept: float  #: bytes in tables and indexes


def capacity(*, full: bool = False) -> list[Table]:
    with scratch() as folder:
        return [asyncio.run(_measured(folder / "home", full=full))]


async def _measured(home: Path, *, full: bool) -> Table:
    async with open_database(home=home) as database:
        plain = await commits(database.dsn, 300)
        cost = await _cost(database, home, DRY if full else FEW)
        seconds = SECONDS if full else SHORT
        rates = [await rate(database.dsn, home, writers, seconds) for writers in WRITERS]
        claims = await _claims(database, CLAIMS if full else FEW)
        rows = ROWS if full else THOUSANDS
        loaded = await _load(database, rows)
        later = await rate(database.dsn, home, WRITERS[-1], seconds)
        read, memory = await _verified(database, loaded)
    a_core = 1 / cost.cpu
    return Table(
        title="What one PostgreSQL carries",
        rows=[
            Row(
                what=f"CPU of PostgreSQL for a run of {STEPS} steps, from request to end",
                value=1000 * cost.cpu,
                unit="ms",
                note=f"{cost.events:.0f} events in {cost.commits:.0f} commits,"
                f" {cost.log / 1000:.0f} kB of write-ahead log, {cost.kept / 1000:.0f} kB kept",
            ),
            Row(
                what="runs a day that one core of it carries at half load",
                value=a_core * DAY / 2,
                note=f"{a_core:.0f} a second at full load;"
                f" {DAY / 2 * a_core * cost.kept / 1e9:.0f} GB a day are kept of them",
            ),
            *(
                Row(
                    what=f"steps written down, writers (processes): {n}",
                    value=each.steps,
                    unit="a second",
                    limit=300 if n == WRITERS[-1] else None,
                    at_least=True,
                    baseline=f"one connection, one row a commit: {1000 / of(plain, 0.5):.0f}",
                    note=f"{3 * each.steps:.0f} events a second, p50 {each.p50:.1f} ms, p95"
                    f" {each.p95:.1f}; PostgreSQL uses {each.cores:.2f} cores",
                )
                for n, each in zip(WRITERS, rates, strict=True)
            ),
            Row(
                what="runs and looks at pipelines that are claimed, one after the other",
                value=claims,
                unit="a second",
                note="each takes the lock under which places are counted; eight ask at once",
            ),
            Row(
                what=f"steps written down by {WRITERS[-1]} with {rows:,} events in the log",
                value=later.steps,
                unit="a second",
                limit=300,
                at_least=True,
                note=f"p50 {later.p50:.1f} ms, p95 {later.p95:.1f}",
            ),
            Row(
                what="events read and held against their hashes",
                value=read,
                unit="a second",
                limit=20_000,
                at_least=True,
                note=f"{LONG} a run; memory {memory:.0f} MB more (limit 100)",
            ),
        ],
    )


# --- what a run costs


async def _cost(database: Database, home: Path, count: int) -> Cost:
    """Of everything but the queue's own questions, which do not grow with the runs."""
    await _runs(database, 8)
    before, cpu = await _size(database), postgres_cpu(home)
    await _runs(database, count)
    after = await _size(database)
    cpu = postgres_cpu(home) - cpu
    log, kept, events, done = (
        (now - then) / count for now, then in zip(after, before, strict=True)
    )
    return Cost(cpu=cpu / count, log=log, kept=kept, events=events, commits=done)


async def _runs(database: Database, count: int) -> None:
    waiting = list(range(count))

    async def some() -> None:
        while waiting:
            waiting.pop()
            await _run(database.store)

    await asyncio.gather(*(some() for _ in range(4)))
    await database.pool.execute("DELETE FROM engine.pgqueuer")


async def _run(store: PostgresStore) -> None:
    """All that is written of a run which goes well."""
    run = await begun(store)
    claimed = await store.claim(run.id, "bench")
    assert claimed is not None
    ready = WorkspaceReady(base=CommitSha("b" * 40), branch="main", files=9, seconds=0.1)
    await add(store, claimed, Write(payloads=(ready,), status=RunStatus.PLANNING))
    await add(store, claimed, Write(payloads=(), status=RunStatus.WORKING))
    for number in range(STEPS):
        await add(store, claimed, step(number + 1000 * run.id))
    tree, patch = TreeSha("c" * 40), b"diff --git a/calc.py b/calc.py\n" * 40
    files = (FileChange(path="calc.py", status="modified", added=1, removed=1),)
    sha = CommitSha("d" * 40)
    taken = CheckpointTaken(tree=tree, patch=_digest(patch), files=files)
    made = Committed(commit=sha, tree=tree, files=files, title="Turn it around")
    push, publish = Push(commit=sha), PublishMergeRequest(commit=sha)
    await add(store, claimed, Write(payloads=(taken,), bodies=(patch,), status=RunStatus.TESTING))
    await add(
        store,
        claimed,
        Write(payloads=(made,), status=RunStatus.PUBLISHING, intents=(push, publish)),
    )
    for intent in (push, publish):
        key = intent.key(run.id)
        done = EffectDone(key=key, effect=KIND[type(intent)], result="!7", iid=7)
        await store.settle(run.id, key, done, wake=intent is publish)
    again = await store.claim(run.id, "bench")
    assert again is not None
    await add(store, again, Write(payloads=(RunEnded(status=RunStatus.SUCCEEDED),)))


async def _claims(database: Database, count: int) -> float:
    runs = [await begun(database.store) for _ in range(count)]
    waiting = [run.id for run in runs]

    async def some() -> None:
        while waiting:
            await database.store.claim(waiting.pop(), "bench")

    began = time.monotonic()
    await asyncio.gather(*(some() for _ in range(8)))
    seconds = time.monotonic() - began
    await database.pool.execute("DELETE FROM engine.pgqueuer")
    return count / seconds


async def _size(database: Database) -> Sequence[int]:
    row = await database.pool.fetchrow("""
        SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint,
            (SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c
                WHERE relname IN ('runs', 'events', 'bodies', 'intents')),
            (SELECT count(*) FROM events),
            (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database())""")
    assert row is not None
    return tuple(int(each) for each in row)


# --- a large log


async def _load(database: Database, rows: int) -> list[RunId]:
    run = await begun(database.store)
    connection = await asyncpg.connect(owner(database.dsn))
    try:
        made = await connection.fetch(RUNS, run.id, rows // LONG)
        ids = [RunId(each["id"]) for each in made]
        heads: dict[RunId, str] = {}
        columns = ["run", "seq", "kind", "actor", "data", "hash"]
        await connection.copy_records_to_table(
            "events", records=_events(ids, heads), columns=columns
        )
        await connection.executemany(
            "UPDATE runs SET head_seq = $2, head_hash = $3 WHERE id = $1",
            [(each, LONG, heads[each]) for each in ids],
        )
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
    return ids


def _events(ids: Sequence[RunId], heads: dict[RunId, str]) -> Iterator[tuple[object, ...]]:
    (returned,) = (each for each in step(1).payloads if isinstance(each, ToolReturned))
    kind, text = kind_of(ToolReturned), codec.to_json(returned)
    for run in ids:
        made = ""
        for seq in range(1, LONG + 1):
            made = codec.event_hash(made, run, seq, kind, "worker", text)
            yield run, seq, kind, "worker", text, made
        heads[run] = made


async def _verified(database: Database, runs: Sequence[RunId]) -> tuple[float, float]:
    """Events a second, and MB that it took."""
    some = runs[:: max(1, len(runs) // 200)]
    before, began, most = resident(), time.monotonic(), 0.0
    for run in some:
        wrong = await database.store.verify(run)
        assert wrong is None, (run, wrong)
        most = max(most, resident())
    return len(some) * LONG / (time.monotonic() - began), most - before


def _digest(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())
