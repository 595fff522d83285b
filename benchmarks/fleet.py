"""Many runs on few places, and more workers for more runs. Each worker is a process; the model
answers after a while, as models do, and costs no CPU here."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.adapters.postgres_limits import LimitTable
from agent.run import ENDED, RunId, RunStatus
from benchmarks.measure import own_cpu
from benchmarks.scratch import scratch
from benchmarks.table import Row, Table
from benchmarks.town import Process, Town, open_town
from benchmarks.waiting import asked

PLACES = 4  #: runs at once in one worker
QUEUED, FEW = 100, 16
RESTING = 20  #: that wait for people meanwhile
CHANNELS = 10  #: of which the first asks for more than half of all
WORKERS, PAIR = (1, 2, 4), (1, 2)
EACH, LESS = 8, 4  #: runs for each worker
LATENCY = 3.0
RESTS = 10.0  #: seconds


def fleet(*, full: bool = False) -> list[Table]:
    with scratch() as folder:
        queued = asyncio.run(_queued(folder, QUEUED if full else FEW))
    with scratch() as folder:
        sizes, each = (WORKERS, EACH) if full else (PAIR, LESS)
        scaled = asyncio.run(_scaled(folder, sizes, each))
    return [queued, scaled]


async def _queued(folder: Path, count: int) -> Table:
    async with open_town(folder, latency=0.3, parallel=PLACES) as town:
        for _ in range(RESTING):
            await asked(town)
        processes = await town.up("front", "worker", "effects")
        channels = [0 if n < count * 55 // 100 else 1 + n % (CHANNELS - 1) for n in range(count)]
        runs = [(await town.ask(team=f"T{number}")).id for number in channels]
        began = time.monotonic()
        async with asyncio.timeout(30 + 6.0 * count):
            seen = await _watch(processes, runs, town)
        seconds = time.monotonic() - began
        found = await town.ended(runs, 0)
        first = await _first(town, dict(zip(runs, channels, strict=True)))
        late = {each.log.stem.partition("-")[0]: each.late(0.99) for each in processes}
    ends = Counter(found.values())
    worker = [each.worker for each in seen]
    begun = next((each.worker for each in seen if each.ended >= min(10, count // 2)), worker[0])
    slope = _slope([each.ended for each in seen], worker)
    return Table(
        title=f"{count} runs queued at once on {PLACES} places of one worker, sandbox and all;"
        f" {RESTING} others wait for people",
        rows=[
            Row(
                what="ended, each with a merge request",
                value=ends[RunStatus.SUCCEEDED],
                unit="runs",
                limit=count,
                at_least=True,
                note=f"in {seconds:.0f} s, {60 * count / seconds:.0f} a minute",
            ),
            Row(
                what="the worker's memory, a run more",
                value=max(0.0, 1000 * slope),
                unit="kB",
                limit=100,
                baseline=f"{begun:.0f} MB after the first {min(10, count // 2)}",
                note=f"{worker[-1]:.0f} MB after the last, at most {max(worker):.0f};"
                " slope over the later half",
            ),
            Row(
                what="front, worker and effects together at most",
                value=max(each.whole for each in seen),
                unit="MB",
                limit=600,
            ),
            Row(
                what=f"channels among the first {CHANNELS} runs that had to wait for a place",
                value=len(first),
                unit="channels",
                limit=min(CHANNELS, len(set(channels))) - 1,
                at_least=True,
                note=f"one channel had asked for {channels.count(0)} runs before any other",
            ),
            Row(
                what="the latest event loop, p99",
                value=max(late.values()),
                unit="ms",
                limit=100,
                note=", ".join(f"{name} {ms} ms" for name, ms in late.items()),
            ),
        ],
    )


@dataclass(frozen=True, kw_only=True)
class Seen:
    ended: int
    worker: float  #: MB
    whole: float


async def _watch(processes: Sequence[Process], runs: Sequence[RunId], town: Town) -> list[Seen]:
    """Every second, until all have ended."""
    seen: list[Seen] = []
    query = "SELECT count(*) FROM runs WHERE id = ANY ($1::bigint[]) AND status = ANY ($2::text[])"
    while True:
        ended = await town.db.pool.fetchval(query, runs, [str(each) for each in ENDED])
        memory = {each.log.stem: each.rss() for each in processes}
        worker = next(mb for name, mb in memory.items() if name.startswith("worker"))
        seen.append(Seen(ended=ended, worker=worker, whole=sum(memory.values())))
        if ended == len(runs):
            return seen
        await asyncio.sleep(1)


async def _first(town: Town, channels: dict[RunId, int]) -> set[int]:
    """The channels of the runs that were begun first, behind those that found a place at once:
    then only one channel had asked."""
    rows = await town.db.pool.fetch(
        "SELECT run FROM events WHERE kind = 'run_claimed' AND run = ANY ($2::bigint[])"
        " GROUP BY run ORDER BY min(at) OFFSET $3 LIMIT $1",
        CHANNELS,
        list(channels),
        PLACES,
    )
    return {channels[RunId(row["run"])] for row in rows}


def _slope(ended: Sequence[int], memory: Sequence[float]) -> float:
    """MB a run, over the later half."""
    half = [n for n, each in enumerate(ended) if each >= ended[-1] // 2]
    if len({ended[n] for n in half}) < 2:
        return 0.0
    return statistics.linear_regression([ended[n] for n in half], [memory[n] for n in half]).slope


@dataclass(frozen=True, kw_only=True)
class Rate:
    workers: int
    a_minute: float
    cpu: dict[str, float]  #: seconds a run, by who used them
    busy: float  #: share of the machine
    rest: Rest


@dataclass(frozen=True, kw_only=True)
class Rest:
    """What PostgreSQL has of workers that have nothing to do."""

    commits: float  #: a second
    cpu: float  #: seconds a second
    connections: int


async def _scaled(folder: Path, sizes: Sequence[int], each: int) -> Table:
    rates: list[Rate] = []
    async with open_town(folder, latency=LATENCY, parallel=PLACES) as town:
        (effects,) = await town.up("effects")
        for size in sizes:
            await LimitTable(town.db.pool).tell(PLACES * size)
            workers = await town.up(*["worker"] * size)
            warm = [(await town.ask()).id for _ in workers]
            await town.ended(warm, 120)
            rest = await _rest(town)
            rates.append(await _rate(town, workers, effects, each * size, rest))
            await town.down(*workers)
    one = rates[0].a_minute
    cores = os.cpu_count() or 1
    return Table(
        title=f"More workers, {PLACES} places each; the model takes {LATENCY:.0f} s an answer,"
        f" three answers a run; one machine of {cores} cores for all, stand-ins included",
        rows=[
            Row(
                what=f"runs a minute, workers: {rate.workers}",
                value=rate.a_minute,
                baseline="" if rate.workers == 1 else f"{rate.workers} × {one:.0f}",
                note=f"efficiency {rate.a_minute / one / rate.workers:.2f}; {rate.busy:.0%} of the"
                f" machine busy; CPU s a run: {_told(rate.cpu)}",
            )
            for rate in rates
        ]
        + [
            Row(
                what=f"CPU of PostgreSQL while they have nothing to do, workers: {rate.workers}",
                value=1000 * rate.rest.cpu,
                unit="ms a second",
                note=f"{rate.rest.commits:.0f} commits a second, {rate.rest.connections}"
                " connections, of an effects process and of this benchmark, too",
            )
            for rate in rates
        ],
    )


async def _rate(
    town: Town, workers: Sequence[Process], effects: Process, count: int, rest: Rest
) -> Rate:
    def used() -> dict[str, float]:
        return {
            "workers, git and sandbox": sum(each.cpu() for each in workers),
            "effects": effects.cpu(),
            "PostgreSQL": town.postgres_cpu(),
            "stand-ins": own_cpu(),
        }

    before, idle, began = used(), _idle(), time.monotonic()
    runs = [(await town.ask()).id for _ in range(count)]
    found = await town.ended(runs, 60 + 10.0 * count)
    seconds = time.monotonic() - began
    busy = 1 - (_idle() - idle) / (seconds * (os.cpu_count() or 1))
    done = sum(status is RunStatus.SUCCEEDED for status in found.values())
    if done < count:
        raise SystemExit(f"Of {count} runs {done} succeeded: {Counter(found.values())}")
    cpu = {name: (after - before[name]) / count for name, after in used().items()}
    return Rate(workers=len(workers), a_minute=60 * count / seconds, cpu=cpu, busy=busy, rest=rest)


async def _rest(town: Town) -> Rest:
    """One effects process is there, too."""
    statement = """
        SELECT xact_commit AS commits,
            (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user) AS users
        FROM pg_stat_database WHERE datname = current_database()"""
    await asyncio.sleep(3)
    before, cpu = await town.db.pool.fetchrow(statement), town.postgres_cpu()
    await asyncio.sleep(RESTS)
    after = await town.db.pool.fetchrow(statement)
    assert before is not None
    assert after is not None
    return Rest(
        commits=(after["commits"] - before["commits"]) / RESTS,
        cpu=(town.postgres_cpu() - cpu) / RESTS,
        connections=after["users"],
    )


def _idle() -> float:
    """Seconds of all cores in which nothing ran."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def _told(cpu: dict[str, float]) -> str:
    return ", ".join(f"{name} {seconds:.2f}" for name, seconds in cpu.items())
