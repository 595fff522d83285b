"""Effects whose jobs break before the effect plane can say why: tried ever more seldom, then told,
kept, and taken up again when somebody asks for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest

from agent.adapters import pg_queue
from agent.adapters.database import Database
from agent.adapters.postgres_broken import WAKE_LOST_EFFECTS, give_up_broken, give_up_deadly
from agent.events import EffectDone, EffectFailed, EffectIntended, EffectKind
from agent.intents import LinkBack, Push
from agent.ports import Write
from agent.run import CommitSha, Limits, Person, Request, Run, RunId, RunStatus, Thread

PUSH = Push(commit=CommitSha("c" * 40))
NOTE = LinkBack(target="issue", iid=3)


async def publishing(db: Database) -> Run:
    request = Request(
        text="add an export",
        project="shop/api",
        base_branch=None,
        requester=Person(id="U1", name="Ann"),
        thread=Thread(team="T1", channel="C1", ts="1.0"),
        message="1.0",
    )
    made, _ = await db.store.create(os.urandom(4).hex(), request, Limits())
    run = await db.store.claim(made.id, "w")
    assert run
    await db.pool.execute("DELETE FROM engine.pgqueuer")
    for status in (RunStatus.PLANNING, RunStatus.WORKING, RunStatus.TESTING):
        write = Write(payloads=(), status=status)
        await db.store.write(run.id, write, actor="worker", epoch=run.epoch)
    write = Write(payloads=(), status=RunStatus.PUBLISHING, intents=(PUSH, NOTE))
    return await db.store.write(run.id, write, actor="worker", epoch=run.epoch)


async def failures(db: Database, run: RunId) -> list[EffectFailed]:
    events = await db.store.events(run)
    return [each.payload for each in events if isinstance(each.payload, EffectFailed)]


@asynccontextmanager
async def served(db: Database, on_effects: Any) -> AsyncGenerator[None]:
    working = asyncio.create_task(db.queue().work(on_effects=on_effects))
    try:
        yield
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working


async def test_what_always_breaks_is_told_after_a_few_tries_and_not_tried_again(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pg_queue, "_MEND", 0.05)
    run = await publishing(db)
    calls = 0

    async def breaks(_: RunId) -> None:
        nonlocal calls
        calls += 1
        raise RuntimeError("a defect")

    async with asyncio.timeout(120), served(db, breaks):
        while not await failures(db, run.id):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    told = await failures(db, run.id)
    assert [each.key for each in told] == [PUSH.key(run.id), NOTE.key(run.id)]
    assert {each.retry_in for each in told} == {None}
    assert "begun 5 times" in told[0].problem
    assert calls == 5
    assert await db.store.pending_intents(run.id) == []
    jobs = await db.pool.fetch("SELECT dedupe_key FROM engine.pgqueuer WHERE status = 'queued'")
    assert [row["dedupe_key"].startswith(f"run:{run.id}:") for row in jobs]  # a worker tells people
    await give_up_broken(db.pool)  # nothing is left to give up
    assert len(await failures(db, run.id)) == 2
    again = await db.store.write(
        run.id, Write(payloads=(), intents=(Push(commit=CommitSha("d" * 40)),)), actor="worker"
    )
    await give_up_broken(db.pool)
    assert await db.store.pending_intents(again.id)  # what comes later has its own tries


async def test_what_broke_is_woken_ever_more_seldom(db: Database) -> None:
    run = await publishing(db)
    second = timedelta(seconds=1)
    await db.pool.execute("UPDATE intents SET created_at = now() - interval '1 hour'")
    for times, ago, woken in ((1, 0.9, 0), (1, 1.1, 1), (3, 3.9, 0), (3, 4.1, 1), (5, 15.9, 0)):
        await db.pool.execute("DELETE FROM engine.pgqueuer")
        for number in range(times):
            await db.pool.execute(
                "INSERT INTO engine.pgqueuer (priority, entrypoint, dedupe_key, status, updated)"
                " VALUES (0, 'effects.shop/api', $1, 'failed', now() - $2::interval)",
                f"effects:{run.id}:{number}",
                timedelta(seconds=ago),
            )
        assert await db.pool.execute(WAKE_LOST_EFFECTS, second) == f"INSERT 0 {woken}", times


async def died(db: Database, times: int) -> int:
    """The job of the effects, after so many processes that took it have died."""
    job = await db.pool.fetchval("SELECT id FROM engine.pgqueuer")
    for _ in range(times):
        await db.pool.execute(
            "INSERT INTO engine.pgqueuer_log (job_id, status, entrypoint, priority)"
            " VALUES ($1, 'picked', 'effects.shop/api', 0)",
            job,
        )
    await db.pool.execute(
        "UPDATE engine.pgqueuer SET status = 'picked', heartbeat = now() - interval '1 hour'"
    )
    return job


async def test_what_its_processes_die_of_is_told_by_the_next_one(db: Database) -> None:
    run = await publishing(db)
    await died(db, 5)
    assert await give_up_broken(db.pool) == 0  # who takes it decides
    calls: list[RunId] = []

    async def deadly(run: RunId) -> None:
        calls.append(run)

    async with asyncio.timeout(120), served(db, deadly):
        while not await failures(db, run.id):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        while await db.pool.fetchval(  # noqa: ASYNC110
            "SELECT count(*) FROM engine.pgqueuer WHERE dedupe_key LIKE 'effects:%'"
        ):
            await asyncio.sleep(0.05)
    assert [each.key for each in await failures(db, run.id)] == [
        PUSH.key(run.id),
        NOTE.key(run.id),
    ]
    assert calls == []


async def test_what_a_living_process_carries_out_is_not_given_up(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pg_queue, "_MEND", 0.05)
    run = await publishing(db)
    await died(db, 4)
    taken, made = asyncio.Event(), asyncio.Event()

    async def act(run: RunId) -> None:
        taken.set()
        await made.wait()
        for intent in (PUSH, NOTE):
            done = EffectDone(key=intent.key(run), effect=EffectKind.PUSH, result="made")
            await db.store.settle(run, done.key, done, wake=True)

    async with asyncio.timeout(120), served(db, act):
        await taken.wait()
        # others see the same log: somebody who was cut off from here has taken it meanwhile
        await db.pool.execute(
            "INSERT INTO engine.pgqueuer_log (job_id, status, entrypoint, priority)"
            " SELECT id, 'picked', entrypoint, 0 FROM engine.pgqueuer"
        )
        assert await give_up_broken(db.pool) == 0
        other = await db.pool.fetchval(
            "INSERT INTO engine.pgqueuer (priority, entrypoint, dedupe_key, status, heartbeat)"
            " VALUES (0, 'effects.shop/api', $1, 'picked', now()) RETURNING id",
            f"effects:{run.id}:other",
        )
        assert not await give_up_deadly(db.pool, run.id, other)
        for _ in range(6):
            await db.pool.execute(
                "INSERT INTO engine.pgqueuer_log (job_id, status, entrypoint, priority)"
                " VALUES ($1, 'picked', 'effects.shop/api', 0)",
                other,
            )
        assert not await give_up_deadly(db.pool, run.id, other)  # the first is still at it
        made.set()
        while await db.store.pending_intents(run.id):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert await failures(db, run.id) == []


async def test_what_broke_is_not_given_up_while_somebody_tries_again(db: Database) -> None:
    run = await publishing(db)
    broke = "INSERT INTO engine.pgqueuer (priority, entrypoint, dedupe_key, status, heartbeat)"
    for number in range(5):
        await db.pool.execute(
            f"{broke} VALUES (0, 'effects.shop/api', $1, 'failed', now())",
            f"effects:{run.id}:broke:{number}",
        )
    await db.pool.execute(
        "UPDATE engine.pgqueuer SET status = 'picked', heartbeat = now() WHERE status = 'queued'"
    )
    assert await give_up_broken(db.pool) == 0
    await db.pool.execute(
        "UPDATE engine.pgqueuer SET heartbeat = now() - interval '1 hour' WHERE status = 'picked'"
    )
    assert await give_up_broken(db.pool) == 1
    assert len(await failures(db, run.id)) == 2


async def test_what_broke_long_before_slows_down_nothing_new(db: Database) -> None:
    run = await publishing(db)
    await db.pool.execute("DELETE FROM engine.pgqueuer")
    for number in range(5):
        await db.pool.execute(
            "INSERT INTO engine.pgqueuer (priority, entrypoint, dedupe_key, status, updated)"
            " VALUES (0, 'effects.shop/api', $1, 'failed', now() - interval '15 minutes')",
            f"effects:{run.id}:{number}",
        )
    await db.pool.execute("UPDATE intents SET created_at = now() - interval '10 minutes'")
    assert await db.pool.execute(WAKE_LOST_EFFECTS, timedelta(minutes=1)) == "INSERT 0 1"


async def test_who_got_further_is_not_given_up(db: Database) -> None:
    run = await publishing(db)
    job = await died(db, 6)
    begun = EffectIntended(key=PUSH.key(run.id), effect=EffectKind.PUSH, subject="push")
    await db.store.write(run.id, Write(payloads=(begun,)), actor="effects")
    assert await give_up_broken(db.pool) == 0
    assert not await give_up_deadly(db.pool, run.id, job)
    assert await failures(db, run.id) == []


async def test_what_cannot_be_read_keeps_nobody_from_mending_the_rest(
    db: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pg_queue, "_MEND", 0.05)
    runs = [await publishing(db) for _ in range(2)]
    await db.pool.execute(
        "UPDATE intents SET data = '{\"nothing\": 1}' WHERE run = $1 AND key = $2",
        runs[0].id,
        PUSH.key(runs[0].id),
    )
    for run in runs:
        for number in range(5):
            await db.pool.execute(
                "INSERT INTO engine.pgqueuer (priority, entrypoint, dedupe_key, status)"
                " VALUES (0, 'effects.shop/api', $1, 'failed')",
                f"effects:{run.id}:broke:{number}",
            )
    await db.pool.execute("DELETE FROM engine.pgqueuer WHERE status = 'queued'")

    async def unused(run: RunId) -> None:
        raise AssertionError(run)

    async with asyncio.timeout(60), served(db, unused):
        while not await failures(db, runs[1].id):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        for _ in range(2):  # what breaks is met again each time
            caplog.clear()
            while "run_not_mended" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert await failures(db, runs[0].id) == []


async def test_a_step_that_breaks_keeps_nobody_from_taking_the_next(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pg_queue, "_MEND", 0.05)
    run = await publishing(db)
    await db.pool.execute("DELETE FROM engine.pgqueuer")
    await db.pool.execute("UPDATE intents SET created_at = now() - interval '1 hour'")
    await db.pool.execute(
        "INSERT INTO engine.pgqueuer (priority, entrypoint, dedupe_key, status)"
        " SELECT 0, 'run.shop/api', 'run:no-number:' || n, 'failed' FROM generate_series(1, 5) n"
    )
    called = asyncio.Event()

    async def act(found: RunId) -> None:
        assert found == run.id
        called.set()

    async with asyncio.timeout(60), served(db, act):
        await called.wait()
