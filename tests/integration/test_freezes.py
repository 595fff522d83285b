"""Freezes, their record, and what they do to claims, in a real PostgreSQL."""

from __future__ import annotations

import asyncio
from itertools import count

import asyncpg
import pytest

from agent.adapters.database import Database, open_database
from agent.adapters.postgres import Connection
from agent.errors import Fenced, NotFound, Unavailable
from agent.events import RunFrozen, RunThawed, StatusChanged, StopAsked
from agent.freeze import EVERYWHERE, OperatorEvent
from agent.ports import Write
from agent.run import Limits, Person, Request, Run, RunStatus, Thread
from agent.state import fold

LEE = Person(id="U1", name="lee", gitlab_id=5)
MIA = Person(id="U2", name="mia", gitlab_id=7)
PROJECT = "shop/api"
_keys = count(1)


async def started(db: Database, project: str = PROJECT) -> Run:
    key = str(next(_keys))
    request = Request(
        text="add an export",
        project=project,
        base_branch=None,
        requester=MIA,
        thread=Thread(team="T1", channel="C1", ts=key),
        message=key,
    )
    return (await db.store.create(key, request, Limits()))[0]


async def at_work(db: Database, status: RunStatus = RunStatus.WORKING) -> Run:
    run = await started(db)
    mine = await db.store.claim(run.id, "w1")
    assert mine is not None
    write = Write(payloads=(), status=status)
    return await db.store.write(run.id, write, actor="worker", epoch=mine.epoch)


async def due(db: Database) -> list[str]:
    rows = await db.pool.fetch(
        "SELECT dedupe_key FROM engine.pgqueuer WHERE execute_after <= now() ORDER BY id"
    )
    return [row["dedupe_key"] for row in rows]


async def test_the_first_of_two_freezes_of_one_scope_stands(db: Database) -> None:
    first = await db.store.freeze(PROJECT, LEE, "the release is broken")
    assert first.sentence == "Frozen by @lee: the release is broken"
    assert await db.store.freeze(PROJECT, MIA, "me, too") == first
    assert await db.store.frozen(PROJECT) == first
    assert await db.store.frozen("shop/web") is None
    assert await db.store.unfreeze(PROJECT, MIA, "") == first
    assert await db.store.unfreeze(PROJECT, MIA, "") is None
    assert await db.store.frozen(PROJECT) is None


async def test_a_word_that_comes_again_begins_no_freeze_that_was_ended_since(db: Database) -> None:
    said = await db.pool.fetchval("SELECT clock_timestamp()")
    twice = await asyncio.gather(*(db.store.freeze(PROJECT, LEE, "red", said) for _ in range(2)))
    assert twice[0] == twice[1]
    await db.store.unfreeze(PROJECT, MIA, "")

    with pytest.raises(NotFound, match="that freeze was ended since"):
        await db.store.freeze(PROJECT, LEE, "red", said)

    assert await db.store.frozen(PROJECT) is None
    later = await db.pool.fetchval("SELECT clock_timestamp()")
    assert (await db.store.freeze(PROJECT, LEE, "still red", later)).reason == "still red"
    assert await db.pool.fetchval("SELECT count(*) FROM operator_events") == 3


async def test_a_word_that_comes_again_ends_no_other_freeze_and_is_answered_as_before(
    db: Database,
) -> None:
    said = await db.pool.fetchval("SELECT clock_timestamp()")
    first = await db.store.freeze(PROJECT, LEE, "broken")
    await db.store.freeze(PROJECT, MIA, "me, too")
    both = await asyncio.gather(*(db.store.unfreeze(PROJECT, MIA, "", said) for _ in range(2)))
    assert [each and each.sentence for each in both] == [first.sentence] * 2
    later = await db.pool.fetchval("SELECT clock_timestamp()")
    again = await db.store.freeze(PROJECT, LEE, "still broken")
    ended = await db.store.unfreeze(PROJECT, MIA, "", said)
    assert ended is not None
    assert ended.sentence == first.sentence
    assert await db.store.frozen(PROJECT) == again
    assert await db.store.unfreeze(PROJECT, MIA, "", later) == again
    assert await db.pool.fetchval("SELECT count(*) FROM operator_events") == 5


async def test_a_word_that_ended_nothing_ends_nothing_when_it_comes_again(db: Database) -> None:
    said = await db.pool.fetchval("SELECT clock_timestamp()")
    assert await db.store.unfreeze(PROJECT, MIA, "", said) is None
    freeze = await db.store.freeze(PROJECT, LEE, "")
    assert await db.store.unfreeze(PROJECT, MIA, "", said) is None
    assert await db.store.frozen(PROJECT) == freeze
    assert await db.store.unfreeze(PROJECT, LEE, "", said) == freeze


async def test_everywhere_holds_every_project_and_ends_by_itself_only(db: Database) -> None:
    everywhere = await db.store.freeze(EVERYWHERE, LEE, "")
    assert everywhere.sentence == "Frozen by @lee."
    assert await db.store.frozen(PROJECT) == everywhere
    one = await db.store.freeze(PROJECT, MIA, "")
    assert await db.store.freezes() == [everywhere, one]
    await db.store.unfreeze(EVERYWHERE, LEE, "")
    assert await db.store.frozen(PROJECT) == one


async def test_a_queued_run_is_not_claimed_and_says_why_once(db: Database) -> None:
    run, other = await started(db), await started(db, "shop/web")
    await db.store.freeze(PROJECT, LEE, "deploying by hand")
    for _ in range(2):
        with pytest.raises(Unavailable, match="Frozen by @lee: deploying by hand"):
            await db.store.claim(run.id, "w1")
    assert await db.store.claim(other.id, "w1") is not None
    state = fold(await db.store.events(run.id))
    assert (state.status, state.reason) == (
        RunStatus.QUEUED,
        "Frozen by @lee: deploying by hand",
    )
    assert state.frozen is not None
    assert state.seq == 3
    assert await db.store.verify(run.id) is None

    await db.store.unfreeze(PROJECT, LEE, "")
    thawed = fold(await db.store.events(run.id))  # before it has found a place
    assert (thawed.frozen, thawed.status, thawed.reason) == (None, RunStatus.QUEUED, "")
    assert await db.store.claim(run.id, "w1") is not None
    assert fold(await db.store.events(run.id)).seq == thawed.seq + 1


async def test_a_run_that_two_freezes_hold_is_not_told_that_it_goes_on(db: Database) -> None:
    run = await started(db)
    await db.store.freeze(PROJECT, LEE, "")
    with pytest.raises(Unavailable):
        await db.store.claim(run.id, "w1")
    await db.store.freeze(EVERYWHERE, LEE, "")
    await db.store.unfreeze(PROJECT, LEE, "")
    assert fold(await db.store.events(run.id)).frozen is not None


@pytest.mark.parametrize("status", [RunStatus.WORKING, RunStatus.TESTING, RunStatus.PLANNING])
async def test_a_run_at_work_goes_back_to_the_queue_and_knows_where_it_was(
    db: Database, status: RunStatus
) -> None:
    run = await at_work(db, status)
    waits = asyncio.create_task(db.store.until_frozen(PROJECT))
    freeze = await db.store.freeze(PROJECT, LEE, "")
    async with asyncio.timeout(1.0):
        await waits
    assert await db.store.heed_freeze(run.id, epoch=run.epoch) == freeze
    state = fold(await db.store.events(run.id))
    assert (state.status, state.interrupted) == (RunStatus.QUEUED, status)
    assert await due(db) == [f"run:{run.id}:1", f"run:{run.id}:2"]
    with pytest.raises(Fenced):  # what it was about to write comes too late
        await db.store.write(run.id, Write(payloads=()), actor="worker", epoch=run.epoch)


@pytest.mark.parametrize("status", [RunStatus.WATCHING, RunStatus.PUBLISHING])
async def test_a_run_that_waits_for_something_outside_stays_where_it_is(
    db: Database, status: RunStatus
) -> None:
    """So that the deadline of its wait goes on."""
    run = await at_work(db, status)
    await db.store.freeze(PROJECT, LEE, "")
    with pytest.raises(Unavailable, match="Frozen by @lee"):
        await db.store.claim(run.id, "w2")
    await db.store.unfreeze(PROJECT, LEE, "")
    claimed = await db.store.claim(run.id, "w2")
    assert claimed is not None
    assert claimed.status is status
    told = [e.payload for e in await db.store.events(run.id)]
    [entered] = [p for p in told if isinstance(p, StatusChanged)]
    assert entered.status is status
    assert [type(p) for p in told if isinstance(p, RunFrozen | RunThawed)] == [
        RunFrozen,
        RunThawed,
    ]


async def test_a_freeze_that_ended_before_its_worker_let_go_loses_nothing(db: Database) -> None:
    run = await at_work(db)
    await db.store.freeze(PROJECT, LEE, "")
    await db.store.unfreeze(PROJECT, LEE, "")
    assert await db.store.heed_freeze(run.id, epoch=run.epoch) is None
    assert await due(db) == [f"run:{run.id}:1", f"run:{run.id}:2"]
    claimed = await db.store.claim(run.id, "w2")
    assert claimed is not None
    assert claimed.status is RunStatus.WORKING


async def test_a_frozen_run_can_be_stopped(db: Database) -> None:
    run = await started(db)
    await db.store.freeze(PROJECT, LEE, "")
    with pytest.raises(Unavailable):
        await db.store.claim(run.id, "w1")
    stopped = await db.store.ask_stop(run.id, StopAsked(by=LEE, how="stop all"), actor="U1")
    assert stopped.status is RunStatus.CANCELLED


async def test_the_end_of_a_freeze_brings_what_it_put_off_and_nothing_else(db: Database) -> None:
    run, other = await started(db), await started(db, "shop/web")
    await db.pool.execute("UPDATE engine.pgqueuer SET execute_after = now() + interval '1 hour'")
    await db.store.freeze(PROJECT, LEE, "")
    await db.store.unfreeze(PROJECT, LEE, "")
    assert await due(db) == [f"run:{run.id}:1"]
    await db.store.unfreeze(EVERYWHERE, LEE, "")
    assert await due(db) == [f"run:{run.id}:1", f"run:{other.id}:1"]


async def test_another_process_and_a_later_one_see_it(db: Database, tmp_path, database_url: str):
    async with open_database(home=tmp_path, url=database_url) as other:
        waits = asyncio.create_task(other.store.until_frozen(PROJECT))
        await other.listener.ready()
        freeze = await db.store.freeze(EVERYWHERE, LEE, "all of it")
        async with asyncio.timeout(1.0):
            await waits
    async with open_database(home=tmp_path, url=database_url) as later:
        assert await later.store.freezes() == [freeze]
        async with asyncio.timeout(1.0):
            await later.store.until_frozen(PROJECT)


async def test_each_deed_is_recorded_for_good(db: Database, owner: Connection) -> None:
    await db.store.freeze(PROJECT, LEE, "broken")
    await db.store.record(
        OperatorEvent(deed="unfreeze", scope=EVERYWHERE, by=MIA, refused="You may not.")
    )
    rows = await db.pool.fetch("SELECT deed, scope, by, reason, refused FROM operator_events")
    assert [(r["deed"], r["scope"], r["reason"], r["refused"]) for r in rows] == [
        ("freeze", PROJECT, "broken", ""),
        ("unfreeze", "", "", "You may not."),
    ]
    assert '"id":"U2"' in rows[1]["by"]
    for change in ("UPDATE operator_events SET refused = ''", "DELETE FROM operator_events"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.pool.execute(change)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="a log only grows"):
            await owner.execute(change)
