"""Whose turn it is: fair between channels, within limits that change while workers run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import count
from typing import Any

import pytest

from agent.adapters.database import Database
from agent.adapters.pg_queue import PgQueue
from agent.adapters.postgres import CONNECTION_ERRORS, connect
from agent.adapters.postgres_claim import lock_fleet
from agent.adapters.postgres_store import PostgresStore
from agent.events import RunClaimed, RunEnded, StatusChanged
from agent.ports import Write
from agent.run import ENDED, Limits, Person, Request, Run, RunId, RunStatus, Thread

ANN = Person(id="U1", name="Ann")
_keys = count(1)


async def asked(db: Database, channel: str, project: str = "shop") -> Run:
    number = next(_keys)
    request = Request(
        text="add an export",
        project=project,
        base_branch=None,
        requester=ANN,
        thread=Thread(team="T1", channel=channel, ts=str(number)),
        message=str(number),
    )
    run, _ = await db.store.create(f"turn-{number}", request, Limits())
    return run


@asynccontextmanager
async def worker(queue: PgQueue, **calls: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.work(**calls))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while True:
            value = condition()
            if await value if isinstance(value, Awaitable) else value:
                return
            await asyncio.sleep(0.01)


async def done(db: Database, run: RunId) -> None:
    mine = await db.store.claim(run, "w1")
    assert mine is not None
    work = Write(payloads=(), status=RunStatus.WORKING)
    await db.store.write(run, work, actor="worker", epoch=mine.epoch)
    end = Write(payloads=(RunEnded(status=RunStatus.SUCCEEDED),))
    await db.store.write(run, end, actor="worker", epoch=mine.epoch)


async def channels_served(db: Database, number: int, *, more: str = "") -> str:
    """The channels of the runs in the order in which one worker begins them; with `more` each
    time one ends, this channel asks again."""
    await db.store.set_project("shop", max_runs=1)
    order: list[str] = []
    ended: list[RunId] = []

    async def on_run(run: RunId) -> None:
        order.append((await db.store.run(run)).request.thread.channel)
        await done(db, run)
        if more and len(order) < number:
            await asked(db, more)
        ended.append(run)

    async with worker(db.queue(), on_run=on_run, slots=1):
        await until(lambda: len(ended) >= number)
    return "".join(order[:number])


async def test_who_asks_once_does_not_wait_for_who_asked_often(db: Database) -> None:
    for _ in range(20):
        await asked(db, "A")
    await asked(db, "B")
    assert await channels_served(db, 21) == "AB" + "A" * 19


async def test_two_busy_channels_take_turns(db: Database) -> None:
    for channel in "AAAABBBB":
        await asked(db, channel)
    assert await channels_served(db, 8) == "ABABABAB"


async def test_a_channel_that_never_stops_asking_starves_nobody(db: Database) -> None:
    for channel in "AAAAAB":
        await asked(db, channel)
    served = await channels_served(db, 12, more="B")
    assert served[:10].count("A") == 5
    assert "BBB" not in served[:10]


async def test_a_channel_saves_up_no_turns_while_it_is_silent(db: Database) -> None:
    for _ in range(6):
        await asked(db, "A")
    assert await channels_served(db, 6) == "AAAAAA"
    for channel in "BBBAAA":
        await asked(db, channel)
    assert await channels_served(db, 6) == "BABABA"


async def test_what_is_stopped_in_the_queue_costs_its_channel_no_turn(db: Database) -> None:
    waiting = [await asked(db, "A") for _ in range(5)]
    for _ in range(3):
        await asked(db, "B")
    for run in waiting:
        stop = RunEnded(status=RunStatus.CANCELLED)
        await db.store.write(run.id, Write(payloads=(stop,)), actor="U1")
    await asked(db, "A")
    turns = await db.pool.fetch("SELECT turn FROM runs WHERE status = 'queued' ORDER BY id")
    assert [row["turn"] for row in turns] == [1, 2, 3, 1]


async def test_what_was_begun_goes_on_before_anything_is_begun(db: Database) -> None:
    begun, *_ = [await asked(db, "A") for _ in range(3)]
    mine = await db.store.claim(begun.id, "w1")
    assert mine is not None
    again = StatusChanged(status=RunStatus.QUEUED)
    await db.store.write(begun.id, Write(payloads=(again,), wake=True), actor="worker")
    rows = await db.pool.fetch(
        "SELECT dedupe_key FROM engine.pgqueuer ORDER BY priority DESC, id LIMIT 3"
    )
    assert [row["dedupe_key"] for row in rows] == [
        f"run:{begun.id}:2",  # the wake-up that was just written
        f"run:{begun.id}:1",  # the one that it was claimed by in this test, without a queue
        f"run:{begun.id + 1}:1",
    ]


async def test_a_full_fleet_leaves_the_order_of_those_who_wait(db: Database) -> None:
    """Nobody's job is taken and handed back while there is no place."""
    store = PostgresStore(db.pool, db.listener, fleet=1)
    queue = PgQueue(db.dsn, db.pool, db.listener, fleet=1)
    runs = [await asked(db, "A", project) for project in ("p1", "p2", "p3", "p4")]
    begun: list[RunId] = []
    go_on = asyncio.Event()

    async def on_run(run: RunId) -> None:
        begun.append(run)
        mine = await store.claim(run, "w1")
        assert mine is not None
        await go_on.wait()
        end = Write(payloads=(RunEnded(status=RunStatus.SUCCEEDED),))
        await store.write(run, end, actor="worker", epoch=mine.epoch)

    async with worker(queue, on_run=on_run), worker(queue, on_run=on_run):
        await until(lambda: bool(begun))
        await asyncio.sleep(1.5)  # more than one look of each
        assert begun == [runs[0].id]
        go_on.set()
        for run in runs:
            await until(partial(_ended, db, run))
    assert begun == [run.id for run in runs]
    assert (
        await db.pool.fetchval(
            "SELECT count(*) FROM engine.pgqueuer_log WHERE traceback::text > ''"
        )
        == 0
    )


async def test_a_worker_takes_no_more_than_it_can_begin(db: Database) -> None:
    """The second run would wait in the first worker while the other one is idle."""
    first, second = await asked(db, "A"), await asked(db, "A")
    await db.store.set_project("shop", max_runs=9)
    taken: list[tuple[str, RunId]] = []
    release = asyncio.Event()

    def held_by(name: str) -> Callable[[RunId], Awaitable[None]]:
        async def on_run(run: RunId) -> None:
            taken.append((name, run))
            await release.wait()
            await done(db, run)

        return on_run

    async with worker(db.queue(), on_run=held_by("one"), slots=1):
        await until(lambda: bool(taken))
        await asyncio.sleep(1.2)  # another look
        picked = "SELECT count(*) FROM engine.pgqueuer WHERE status = 'picked'"
        assert await db.pool.fetchval(picked) == 1
        async with worker(db.queue(), on_run=held_by("two"), slots=1):
            await until(lambda: len(taken) == 2)
            release.set()
            await until(lambda: _ended(db, second))
    assert taken == [("one", first.id), ("two", second.id)]


async def _ended(db: Database, run: Run) -> bool:
    return (await db.store.run(run.id)).status in ENDED


async def test_claims_alone_move_the_turn_on(db: Database) -> None:
    runs = [await asked(db, "A") for _ in range(3)]
    assert await db.pool.fetchval("SELECT turn FROM fleet") == 0
    await db.store.claim(runs[1].id, "w1")
    assert await db.pool.fetchval("SELECT turn FROM fleet") == 2
    await db.store.claim(runs[0].id, "w1")
    assert await db.pool.fetchval("SELECT turn FROM fleet") == 2  # never back
    last = (await db.store.events(runs[0].id))[-1].payload
    assert isinstance(last, RunClaimed)


async def test_who_freezes_while_it_counts_holds_up_nobody(db: Database) -> None:
    run = await asked(db, "A")
    frozen = await connect(db.dsn)
    try:
        async with frozen.transaction():
            await lock_fleet(frozen)
            async with asyncio.timeout(14):  # which is less than a claim is patient
                assert await db.store.claim(run.id, "w1")
            with pytest.raises(CONNECTION_ERRORS):
                await frozen.fetchval("SELECT 1")
    except CONNECTION_ERRORS:
        pass  # the end of a transaction whose connection is gone
    finally:
        frozen.terminate()
