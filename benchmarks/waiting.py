"""What thousands of runs cost that wait for people or for pipelines: memory, places, time. One of
each kind is made by the service itself, the others are its copies in the database."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import asyncpg

from agent.adapters.postgres_broken import WAKE_LOST_EFFECTS
from agent.adapters.postgres_claim import end_broken
from agent.adapters.queue_mending import PRUNE, WAKE_LOST_RUNS
from agent.adapters.system_clock import SystemClock
from agent.events import QuestionAsked
from agent.ports import Write
from agent.run import ACTIVE, ENDED, RunId, RunStatus
from benchmarks.plain import owner
from benchmarks.scratch import scratch
from benchmarks.table import Row, Table, median
from benchmarks.takeover import of, picked
from benchmarks.town import Process, Town, open_town
from bot.schedule import Schedule

FULL, QUICK = 10_000, 1_000
SETTLE = 10.0  #: seconds until a process that was started is at rest
PICKUPS = 20
BUSY = 20.0  #: seconds

#: Everything of one run again under new numbers. Whoever does so owns the tables.
RUNS = """
INSERT INTO runs (key, team, channel, thread_ts, message_ts, project, status, epoch, wake,
    min_code, request, limits, head_seq, head_hash, created_at, updated_at, turn)
SELECT key || '-' || n, team, channel, thread_ts || n, message_ts || n, project, status, epoch,
    wake, min_code, request, limits, head_seq, head_hash, created_at - interval '7 h',
    updated_at, turn
FROM runs, generate_series(1, $2) AS n WHERE id = $1 RETURNING id"""
EVENTS = """
INSERT INTO events (run, seq, at, kind, actor, data, hash)
SELECT id, seq, at, kind, actor,
    replace(data::text, '"key":"' || $1 || ':', '"key":"' || id || ':')::json, hash
FROM events, unnest($2::bigint[]) AS id WHERE run = $1::text::bigint"""
BODIES = """
INSERT INTO bodies (run, sha256, size, data)
SELECT id, sha256, size, data FROM bodies, unnest($2::bigint[]) AS id WHERE run = $1"""
MESSAGES = """
INSERT INTO messages (run, slot, channel, ts, version, fingerprint, state)
SELECT id, slot, channel, ts, version, fingerprint, state
FROM messages, unnest($2::bigint[]) AS id WHERE run = $1"""
SHOWN = """
INSERT INTO messages (run, slot, channel, version, fingerprint, state)
SELECT id, 'shown', channel, head_seq, '', 'posted' FROM runs WHERE id = ANY ($1::bigint[])
ON CONFLICT (run, slot) DO UPDATE SET version = EXCLUDED.version"""
LATER = """
INSERT INTO engine.pgqueuer (priority, entrypoint, payload, dedupe_key, status, execute_after)
SELECT 0, 'watch.' || project, convert_to(json_build_object('run', id)::text, 'UTF8'),
    'run:' || id || ':' || wake, 'queued', now() + interval '3 h'
FROM runs WHERE id = ANY ($1::bigint[])"""
DUE = "UPDATE engine.pgqueuer SET execute_after = now() WHERE status = 'queued'"
LOOKED = "SELECT sum(epoch)::bigint FROM runs"  # each look is a claim


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Of one process: MB, seconds until it was ready."""

    rss: float
    start: float


def waiting(*, full: bool = False) -> list[Table]:
    with scratch() as folder:
        return [asyncio.run(_measured(folder, FULL if full else QUICK))]


async def _measured(folder: Path, count: int) -> Table:
    async with open_town(folder, watch=True) as town:
        watched = await _watched(town)
        bare = await _seen(town)
        one = await asked(town)
        await _fill(town.db.dsn, watched, one, count)
        mend, tick = await _mend(town), await _tick(town)
        processes = await _started(town)
        loaded = await _rest(processes)
        took = [await picked(town) for _ in range(PICKUPS)]
        rate, cpu = await _looks(town, processes["worker"])
        lag = {name: process.late(0.99) for name, process in processes.items()}
    many = f"{count:,} runs that wait for an answer and {count:,} that watch"
    rows = [
        Row(
            what=f"memory that they take in {name}",
            value=max(0.0, loaded[name].rss - bare[name].rss),
            unit="MB",
            limit=10,
            baseline=f"{bare[name].rss:.0f} MB with one run",
            note=f"started in {loaded[name].start:.1f} s, {bare[name].start:.1f} s with one run;"
            f" its loop is late by p99 {lag[name]} ms",
        )
        for name in ("front", "worker", "effects")
    ]
    rows += [
        Row(
            what="a new request is picked up beside them, p50: no place is taken",
            value=median(took),
            unit="ms",
            limit=50,
            note=f"p95 {of(took, 0.95):.0f}, worst {max(took):.0f} in {PICKUPS}",
        ),
        Row(
            what="the look for what was lost, every 30 s in each worker",
            value=mend,
            unit="ms",
            limit=1000,
        ),
        Row(
            what="the tick for questions, every 60 s in the front; 200 are looked at",
            value=tick,
            unit="ms",
        ),
        Row(
            what="pipelines that one worker looks at when all are due",
            value=rate,
            unit="a second",
            note=f"{1000 * cpu:.0f} ms of its CPU each; due is one a minute, or a webhook",
        ),
    ]
    return Table(title=f"At rest: {many}", rows=rows)


async def _watched(town: Town) -> RunId:
    """A run whose merge request stands, and whose pipeline has not begun."""
    processes = await town.up("front", "worker", "effects")
    root = town.slack.people.post("mia", "billing", "turn it around")
    run = (await town.ask(root.channel, ts=root.ts)).id
    async with asyncio.timeout(90):
        while (await town.db.store.run(run)).status is not RunStatus.WATCHING:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await asyncio.sleep(5)  # its thread is written
    await town.down(*processes)
    await town.db.pool.execute(
        "UPDATE engine.pgqueuer SET execute_after = now() + interval '3 h' WHERE status = 'queued'"
    )
    return run


async def asked(town: Town) -> RunId:
    """One that waits for an answer. No worker may be there."""
    run = (await town.ask()).id
    mine = await town.db.store.claim(run, "bench")
    assert mine is not None
    await town.db.store.write(run, Write(payloads=(), status=RunStatus.PLANNING), actor="worker")
    question = Write(
        payloads=(QuestionAsked(question="Which?"),), status=RunStatus.WAITING_FOR_ANSWER
    )
    await town.db.store.write(run, question, actor="worker", epoch=mine.epoch)
    await town.db.pool.execute(
        "DELETE FROM engine.pgqueuer WHERE starts_with(dedupe_key, $1)", f"run:{run}:"
    )
    return run


async def _fill(dsn: str, watched: RunId, asked: RunId, count: int) -> None:
    connection = await asyncpg.connect(owner(dsn))
    try:
        for run in (watched, asked):
            made = [row["id"] for row in await connection.fetch(RUNS, run, count)]
            await connection.execute(EVENTS, str(run), made)
            await connection.execute(BODIES, run, made)
            await connection.execute(MESSAGES, run, made)
            await connection.execute(SHOWN, [*made, run])
            if run == watched:
                await connection.execute(LATER, made)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


async def _seen(town: Town) -> dict[str, Seen]:
    processes = await _started(town)
    seen = await _rest(processes)
    await town.down(*processes.values())
    return seen


async def _started(town: Town) -> dict[str, Process]:
    """One after the other: each has the machine for itself while it starts."""
    return {role: (await town.up(role))[0] for role in ("front", "worker", "effects")}


async def _rest(processes: dict[str, Process]) -> dict[str, Seen]:
    await asyncio.sleep(SETTLE)
    return {name: Seen(rss=p.rss(), start=p.started) for name, p in processes.items()}


async def _mend(town: Town) -> float:
    """Milliseconds of what `PgQueue` does again and again."""
    pool, patience = town.db.pool, timedelta(seconds=30)
    working = [str(status) for status in ACTIVE | {RunStatus.QUEUED}]
    began = time.perf_counter()
    await end_broken(pool)
    woken = await pool.execute(WAKE_LOST_RUNS, working, patience)
    await pool.execute(WAKE_LOST_EFFECTS, patience)
    await pool.execute(PRUNE, [str(status) for status in ENDED])
    took = time.perf_counter() - began
    assert woken == "INSERT 0 0", woken
    return 1000 * took


async def _tick(town: Town) -> float:
    async def prune() -> None:
        pass

    schedule = Schedule(store=town.db.store, waits=town.db.waits, clock=SystemClock(), prune=prune)
    began = time.perf_counter()
    await schedule.tick()
    return 1000 * (time.perf_counter() - began)


async def _looks(town: Town, worker: Process) -> tuple[float, float]:
    """Looks a second, and CPU seconds of each."""
    pool = town.db.pool
    await pool.execute(DUE)
    await asyncio.sleep(5)
    before, looked, since = worker.cpu(), await pool.fetchval(LOOKED), time.monotonic()
    await asyncio.sleep(BUSY)
    looks = await pool.fetchval(LOOKED) - looked
    seconds = time.monotonic() - since
    return looks / seconds, (worker.cpu() - before) / max(1, looks)
