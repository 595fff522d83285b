"""What a worker that was replaced may still do to its job: nothing; and what is done about a run
that its workers die of."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from pgqueuer.domain.models import Job
from pgqueuer.ports.repository import EntrypointExecutionParameter

from agent.adapters.database import Database
from agent.adapters.pgqueuer_parts import FencedQueries, ResilientDriver
from agent.adapters.postgres_claim import end_broken
from agent.adapters.queue_mending import WAKE_LOST_RUNS
from agent.errors import Fenced
from agent.events import RunClaimed, RunEnded, StatusChanged, ToolReturned
from agent.grip import held
from agent.ports import Write
from agent.run import Digest, Limits, Person, Request, Run, RunId, RunStatus, Thread
from agent.state import fold

ANN = Person(id="U1", name="Ann")
AT_ONCE = timedelta(0)  # a heartbeat of a moment ago counts as a dead worker's
NEVER = timedelta(hours=1)


class Holder:
    """A worker's side of the queue, one step at a time."""

    def __init__(self, db: Database) -> None:
        self.queries = FencedQueries.over(ResilientDriver(db.pool, db.listener, asyncio.Event()))
        self.queries.holder = self.id = uuid.uuid4()

    async def take(self, stale: timedelta = NEVER) -> Job | None:
        every: Any = {"run.shop": EntrypointExecutionParameter(concurrency_limit=0)}
        jobs = await self.queries.dequeue(1, every, self.id, None, stale)  # type: ignore[arg-type]
        return jobs[0] if jobs else None


async def asked(db: Database, key: str = "one") -> Run:
    request = Request(
        text="add an export",
        project="shop",
        base_branch=None,
        requester=ANN,
        thread=Thread(team="T1", channel="C1", ts="1.0"),
        message="1.0",
    )
    run, _ = await db.store.create(key, request, Limits())
    return run


async def row(db: Database) -> dict[str, Any] | None:
    found = await db.pool.fetchrow(
        "SELECT status::text, queue_manager_id::text AS holder, attempts, heartbeat, execute_after"
        " FROM engine.pgqueuer"
    )
    return dict(found) if found else None


@pytest.mark.parametrize("how", ["successful", "exception", "failed", "canceled"])
async def test_who_was_replaced_cannot_finish_the_heirs_job(db: Database, how: Any) -> None:
    await asked(db)
    zombie, heir = Holder(db), Holder(db)
    job = await zombie.take()
    assert job is not None
    taken = await heir.take(stale=AT_ONCE)
    assert taken is not None
    assert taken.id == job.id
    before = await row(db)
    logged = await db.pool.fetchval("SELECT count(*) FROM engine.pgqueuer_log")
    await zombie.queries.log_jobs([(job, how, None)])
    assert await row(db) == before
    assert await db.pool.fetchval("SELECT count(*) FROM engine.pgqueuer_log") == logged
    await heir.queries.log_jobs([(taken, "successful", None)])
    assert await row(db) is None


async def test_who_was_replaced_cannot_hand_the_heirs_job_back(db: Database) -> None:
    await asked(db)
    zombie, heir = Holder(db), Holder(db)
    job = await zombie.take()
    taken = await heir.take(stale=AT_ONCE)
    assert job is not None
    assert taken is not None
    before = await row(db)
    await zombie.queries.retry_job(job, timedelta(seconds=9), None)
    assert await row(db) == before
    await heir.queries.retry_job(taken, timedelta(0), None)
    after = await row(db)
    assert after is not None
    assert (after["status"], after["holder"], after["attempts"]) == ("queued", None, 1)


async def test_who_was_replaced_cannot_keep_the_heirs_job_alive(db: Database) -> None:
    await asked(db)
    zombie, heir = Holder(db), Holder(db)
    job = await zombie.take()
    assert job is not None
    await heir.take(stale=AT_ONCE)
    before = await row(db)
    await zombie.queries.update_heartbeat([job.id])
    assert await row(db) == before
    await heir.queries.update_heartbeat([job.id])
    assert await row(db) != before


async def test_only_who_holds_a_job_is_told_that_it_does(db: Database) -> None:
    await asked(db)
    zombie, heir = Holder(db), Holder(db)
    job = await zombie.take()
    assert job is not None
    await zombie.queries.hold(job.id)
    await heir.take(stale=AT_ONCE)
    with pytest.raises(Fenced):
        await zombie.queries.hold(job.id)
    await heir.queries.hold(job.id)


async def test_what_a_worker_calls_can_ask_whether_its_job_is_still_its_own(db: Database) -> None:
    await asked(db)
    asks, told = asyncio.Event(), asyncio.Event()
    answers: list[str] = []

    async def on_run(_: RunId) -> None:
        await held()
        answers.append("ours")
        asks.set()
        await told.wait()
        try:
            await held()
        except Fenced:
            answers.append("not ours")
            raise
        finally:
            asks.set()

    queue = asyncio.create_task(db.queue(lease=3600).work(on_run=on_run))
    try:
        async with asyncio.timeout(60):
            await asks.wait()
            asks.clear()
            heir = Holder(db)
            assert await heir.take(stale=AT_ONCE)
            told.set()
            await asks.wait()
    finally:
        queue.cancel()
        with suppress(asyncio.CancelledError):
            await queue
    assert answers == ["ours", "not ours"]
    left = await row(db)
    assert left is not None
    assert (left["status"], left["holder"]) == ("picked", str(heir.id))


async def test_a_job_that_broke_is_held_and_is_nobodys(db: Database) -> None:
    await asked(db)
    holder = Holder(db)
    job = await holder.take()
    assert job is not None
    await holder.queries.log_jobs([(job, "failed", None)])
    held = await row(db)
    assert held is not None
    assert (held["status"], held["holder"]) == ("failed", None)
    assert await holder.take(stale=AT_ONCE) is None


async def died(db: Database, times: int) -> None:
    """As often a worker takes the run's job, begins it and is never heard of again."""
    for number in range(times):
        assert await Holder(db).take(stale=AT_ONCE)
        run = await db.store.claim((await db.store.runs())[0].id, f"w{number}")
        assert run is not None
        if run.status is RunStatus.QUEUED:
            work = Write(payloads=(), status=RunStatus.WORKING)
            await db.store.write(run.id, work, actor="worker", epoch=run.epoch)


async def test_a_run_that_its_workers_die_of_ends_with_a_sentence(db: Database) -> None:
    run = await asked(db)
    await died(db, 5)
    last = await db.store.run(run.id)
    assert await Holder(db).take(stale=AT_ONCE)
    assert await db.store.claim(run.id, "w6") is None
    state = fold(await db.store.events(run.id))
    assert state.status is RunStatus.FAILED
    assert "begun 5 times in a row" in state.reason
    with pytest.raises(Fenced):
        await db.store.write(run.id, Write(payloads=()), actor="worker", epoch=last.epoch)
    assert await db.store.verify(run.id) is None

    again = StatusChanged(status=RunStatus.QUEUED, reason="Queued again by Ann.")
    await db.store.write(run.id, Write(payloads=(again,), wake=True), actor="U1")
    assert await db.store.claim(run.id, "w7")  # it begins to count anew


async def test_a_run_that_gets_on_outlives_any_number_of_workers(db: Database) -> None:
    run = await asked(db)
    for call in range(3):
        await died(db, 4)
        returned = ToolReturned(
            call=call,
            id="a",
            tool="run",
            arguments="{}",
            ok=True,
            summary="",
            output=Digest("0" * 64),
            seconds=0.1,
        )
        await db.store.write(run.id, Write(payloads=(returned,)), actor="worker")
    assert (await db.store.run(run.id)).status is RunStatus.WORKING


async def test_workers_that_stop_as_they_are_told_count_for_nothing(db: Database) -> None:
    run = await asked(db)
    for number in range(12):
        holder = Holder(db)
        job = await holder.take()
        assert job is not None
        assert await db.store.claim(run.id, f"w{number}")
        await holder.queries.retry_job(job, timedelta(0), None)
    claims = [e for e in await db.store.events(run.id) if isinstance(e.payload, RunClaimed)]
    assert len(claims) == 12


async def test_a_run_whose_job_breaks_whenever_it_is_woken_ends_with_a_sentence(
    db: Database,
) -> None:
    run, other = await asked(db), await asked(db, "other")
    for _ in range(5):
        await end_broken(db.pool)
        assert (await db.store.run(run.id)).status is RunStatus.QUEUED
        await db.pool.execute(WAKE_LOST_RUNS, ["queued"], timedelta(0))
        holder = Holder(db)
        job = await holder.take()
        assert job is not None
        await holder.queries.log_jobs([(job, "failed", None)])
    await end_broken(db.pool)
    ended = (await db.store.events(run.id))[-1].payload
    assert isinstance(ended, RunEnded)
    assert ended.status is RunStatus.FAILED
    assert (await db.store.run(other.id)).status is RunStatus.QUEUED
    await end_broken(db.pool)  # nothing is left to end

    again = StatusChanged(status=RunStatus.QUEUED, reason="Queued again by Ann.")
    await db.store.write(run.id, Write(payloads=(again,), wake=True), actor="U1")
    await end_broken(db.pool)
    assert (await db.store.run(run.id)).status is RunStatus.QUEUED  # what broke before is past
