"""Two jobs for the effects of one run: they never work on them at the same time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from test_broken_effects import NOTE, PUSH, died, failures, publishing, served

from agent.adapters.database import Database
from agent.adapters.effect_jobs import left_to_another
from agent.adapters.gitlab_client import LETS_GO
from agent.errors import Unavailable
from agent.events import EffectDone, EffectKind
from agent.intents import Push
from agent.ports import Write
from agent.run import CommitSha, RunId

LATER = Push(commit=CommitSha("d" * 40))


async def done(db: Database, run: RunId, *keys: str) -> None:
    for key in keys:
        made = EffectDone(key=key, effect=EffectKind.PUSH, result="made")
        await db.store.settle(run, key, made, wake=False)


async def wants_more(db: Database, run: RunId) -> int:
    """The job that comes with it."""
    await db.store.write(run, Write(payloads=(), intents=(LATER,)), actor="worker")
    return await db.pool.fetchval("SELECT max(id) FROM engine.pgqueuer")


async def test_what_comes_later_waits_for_what_is_under_way(db: Database) -> None:
    run = (await publishing(db)).id
    at_it, most, calls = 0, 0, 0
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def act(run: RunId) -> None:
        nonlocal at_it, most, calls
        at_it, calls = at_it + 1, calls + 1
        most = max(most, at_it)
        pending = await db.store.pending_intents(run)
        begun.set()
        await go_on.wait()
        await done(db, run, *(key for key, _ in pending))
        at_it -= 1

    async with asyncio.timeout(60), served(db, act):
        await begun.wait()
        later = await wants_more(db, run)
        handed_back = "SELECT attempts FROM engine.pgqueuer WHERE id = $1"
        while not await db.pool.fetchval(handed_back, later):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        go_on.set()
        while await db.store.pending_intents(run):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert (most, calls) == (1, 2)


async def put_off(db: Database, *, ago: timedelta) -> None:
    await db.pool.execute(
        "UPDATE engine.pgqueuer"
        " SET execute_after = now() + interval '1 hour', updated = now() - $1::interval",
        ago,
    )


async def test_what_gitlab_may_still_be_at_is_not_woken_before_it_lets_go(db: Database) -> None:
    run = (await publishing(db)).id
    await put_off(db, ago=timedelta(seconds=30))
    assert await left_to_another(db.pool, run, await wants_more(db, run))
    due = await db.pool.fetchval(
        "SELECT min(execute_after - updated) FROM engine.pgqueuer WHERE execute_after > now()"
    )
    assert due == timedelta(seconds=LETS_GO)


async def test_what_waits_to_try_again_is_woken_and_does_it_all(db: Database) -> None:
    run = (await publishing(db)).id
    await put_off(db, ago=timedelta(minutes=10))
    await wants_more(db, run)
    calls: list[list[str]] = []

    async def act(run: RunId) -> None:
        keys = [key for key, _ in await db.store.pending_intents(run)]
        calls.append(keys)
        await done(db, run, *keys)

    async with asyncio.timeout(60), served(db, act):
        while await db.pool.fetchval("SELECT count(*) FROM engine.pgqueuer"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert calls == [[each.key(run) for each in (PUSH, NOTE, LATER)]]


async def test_an_earlier_one_that_was_not_seen_waits_until_the_other_has_given_way(
    db: Database,
) -> None:
    run = (await publishing(db)).id
    early = await db.pool.fetchval("SELECT max(id) FROM engine.pgqueuer")
    late = await wants_more(db, run)
    await db.pool.execute("UPDATE engine.pgqueuer SET status = 'picked', heartbeat = now()")
    waiting = asyncio.create_task(left_to_another(db.pool, run, early))
    with pytest.raises(Unavailable):
        await left_to_another(db.pool, run, late)
    assert not waiting.done()
    await db.pool.execute("UPDATE engine.pgqueuer SET status = 'queued' WHERE id = $1", late)
    assert not await waiting


async def test_what_gives_way_to_a_deadly_one_does_not_keep_it_from_being_told(
    db: Database,
) -> None:
    run = (await publishing(db)).id
    await died(db, 5)
    await wants_more(db, run)
    calls: list[RunId] = []

    async def deadly(run: RunId) -> None:
        calls.append(run)

    async with asyncio.timeout(60), served(db, deadly):
        while not await failures(db, run):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        while await db.pool.fetchval(  # noqa: ASYNC110
            "SELECT count(*) FROM engine.pgqueuer WHERE starts_with(dedupe_key, 'effects:')"
        ):
            await asyncio.sleep(0.02)
    assert {each.key for each in await failures(db, run)} >= {PUSH.key(run), NOTE.key(run)}
    assert calls in ([], [run])  # what came later is carried out, if it was not told as well


async def test_a_frozen_process_may_still_be_at_it(db: Database) -> None:
    run = (await publishing(db)).id
    await db.pool.execute(
        "UPDATE engine.pgqueuer SET status = 'picked', heartbeat = now() - $1::interval",
        timedelta(hours=1),
    )
    with pytest.raises(Unavailable):
        await left_to_another(db.pool, run, await wants_more(db, run))


async def test_other_runs_are_nobodys_concern(db: Database) -> None:
    run = (await publishing(db)).id
    own = await db.pool.fetchval("SELECT max(id) FROM engine.pgqueuer")
    for other in (f"effects:{run}0:1", f"effects:9{run}:1", f"run:{run}:1"):
        await db.pool.execute(
            "INSERT INTO engine.pgqueuer (priority, entrypoint, dedupe_key, status)"
            " VALUES (0, 'effects.shop/api', $1, 'picked')",
            other,
        )
    assert not await left_to_another(db.pool, run, own)
