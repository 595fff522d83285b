"""How soon a run has another worker when its own is killed, how soon one is picked up, and what it
costs to write a step down. Workers are processes, the lease is the one that the service has."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from agent.adapters.database import Database
from agent.adapters.postgres_claim import LEASE
from agent.events import ModelAnswered, ModelAsked, RunClaimed, StopAsked, ToolReturned
from agent.ports import Write
from agent.run import Digest, Limits, Person, Request, RunId, Thread, Usage
from benchmarks.plain import commits, notified
from benchmarks.scratch import scratch
from benchmarks.script import call
from benchmarks.table import Row, Table, median, spread
from benchmarks.town import PLAN, Process, Town, open_town

ROUNDS, QUICK = 10, 3
PICKUPS = 30
STEPS = 300
BODY = 3000  #: bytes of a typical answer or output
BY = Person(id="U1", name="mia")


def takeover(*, full: bool = False) -> list[Table]:
    with scratch() as folder:
        return [asyncio.run(_measured(folder, ROUNDS if full else QUICK))]


async def _measured(folder: Path, rounds: int) -> Table:
    script = (PLAN, call("run", command="sleep 120"))
    async with open_town(folder, script=script) as town:
        steps = await journaled(town.db)
        plain, waked = await commits(town.db.dsn, STEPS), await notified(town.db.dsn, PICKUPS)
        workers = await town.up("worker", "worker")
        waited = [await picked(town) for _ in range(PICKUPS)]
        took: list[float] = []
        for _ in range(rounds):
            took.append(await _killed(town, workers))
    return Table(
        title=f"Two workers of which one is killed with -9, lease {LEASE:.0f} s",
        rows=[
            Row(
                what="killed while a command runs, until the other one has the run",
                value=median(took),
                unit="s",
                limit=10,
                baseline="without another worker: never",
                note=spread(took, 2),
            ),
            Row(what="the slowest of them", value=max(took), unit="s", limit=10),
            Row(
                what="stored request to claim by a worker at rest, p50",
                value=median(waited),
                unit="ms",
                limit=50,
                baseline=f"NOTIFY and SKIP LOCKED alone {median(waked):.1f}",
                note=f"p95 {of(waited, 0.95):.1f}, worst {max(waited):.1f} in {PICKUPS}",
            ),
            Row(
                what="a step written down (answer, call, result, two texts), p50",
                value=median(steps),
                unit="ms",
                limit=10,
                baseline=f"INSERT and COMMIT of one row {median(plain):.1f}",
                note=f"p95 {of(steps, 0.95):.1f}, worst {max(steps):.1f} in {STEPS}",
            ),
        ],
    )


async def _killed(town: Town, workers: list[Process]) -> float:
    """Seconds; the dead one has a successor afterwards."""
    run = (await town.ask()).id
    await town.until(run, "tool_started")
    await asyncio.sleep(0.3)
    events = await town.db.store.events(run)
    name = next(e.payload.worker for e in events if isinstance(e.payload, RunClaimed))
    dead = next(each for each in workers if str(each.pid) == name.rpartition(":")[2])
    killed = time.time()
    dead.kill()
    workers.remove(dead)
    workers += await town.up("worker")
    await town.until(run, "run_claimed", 2)
    claimed = [e for e in await town.db.store.events(run) if isinstance(e.payload, RunClaimed)]
    await _stop(town, run)
    return claimed[1].at.timestamp() - killed


async def picked(town: Town) -> float:
    """Milliseconds from a stored request to its claim, by the database's own clock."""
    run = (await town.ask()).id
    await town.until(run, "run_claimed")
    events = await town.db.store.events(run)
    claimed = next(e.at for e in events if isinstance(e.payload, RunClaimed))
    await _stop(town, run)
    return 1000 * (claimed - events[0].at).total_seconds()


async def _stop(town: Town, run: RunId) -> None:
    await town.db.store.ask_stop(run, StopAsked(by=BY, how="button"), actor=BY.id)
    await town.ended([run], 30)
    await asyncio.sleep(0.2)


async def journaled(database: Database, steps: int = STEPS) -> list[float]:
    """Milliseconds of each step's write in a run that grows."""
    once = datetime.now(UTC).isoformat()
    thread = Thread(team="T", channel="C", ts=once)
    request = Request(
        text="turn it around",
        project="bench/steps",
        base_branch=None,
        requester=BY,
        thread=thread,
        message=once,
    )
    run, _ = await database.store.create(once, request, Limits())
    mine = await database.store.claim(run.id, "bench")
    assert mine is not None
    took: list[float] = []
    for number in range(steps):
        write = step(number)
        began = time.perf_counter()
        await database.store.append(run.id, write, actor="worker", epoch=mine.epoch)
        took.append(1000 * (time.perf_counter() - began))
    await database.store.ask_stop(run.id, StopAsked(by=BY, how="button"), actor=BY.id)
    await database.pool.execute("DELETE FROM engine.pgqueuer")
    return took


def step(number: int) -> Write:
    """What the loop writes of an answer and of what its tool has returned."""
    said, printed = (_text(f"{what}{number}") for what in ("said", "printed"))
    usage = Usage(prompt_tokens=9000, cached_tokens=8800, completion_tokens=120)
    return Write(
        payloads=(
            ModelAsked(call=number, appended=_digest(said), prefix=_digest(b""), messages=number),
            ModelAnswered(
                call=number, message=_digest(said), usage=usage, model="scripted", finish="tool"
            ),
            ToolReturned(
                call=number,
                id=f"call_{number}",
                tool="run",
                arguments='{"command": "pytest -q"}',
                ok=True,
                summary="pytest -q: exit 0 in 2.1 s",
                output=_digest(printed),
                seconds=2.1,
            ),
        ),
        bodies=(said, printed),
    )


def of(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _text(seed: str) -> bytes:
    """Compresses about as well as output of programs."""
    digest = hashlib.sha256(seed.encode()).hexdigest()
    lines = [f"tests/test_{digest[n % 60 :][:4]}.py::test_{n} PASSED\n" for n in range(BODY // 36)]
    return "".join(lines).encode()


def _digest(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())
