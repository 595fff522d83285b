"""Deliveries, when the database has little left to give."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from agent.adapters.database import Database
from agent.errors import ForgeRejected, StoreUnavailable
from bot.inbox import Redelivery


async def test_a_delivery_is_kept_while_all_other_work_has_taken_every_connection(
    db: Database,
) -> None:
    async with asyncio.timeout(60), AsyncExitStack() as taken:
        for _ in range(10):
            await taken.enter_async_context(db.pool.acquire())
        assert await db.inbox.accept("slack", "Ev1", {})
        for _ in range(2):
            await taken.enter_async_context(db.inbox._reserved.acquire())
        with pytest.raises(StoreUnavailable):  # in time for an answer, so that it comes again
            await db.inbox.accept("slack", "Ev2", {})
    assert await db.inbox.accept("slack", "Ev2", {})


async def test_a_burst_of_deliveries_has_the_connections_that_nobody_uses(db: Database) -> None:
    async with asyncio.timeout(60), AsyncExitStack() as taken:
        for _ in range(2):
            await taken.enter_async_context(db.inbox._reserved.acquire())
        assert await db.inbox.accept("slack", "Ev1", {})


class _Killed(BaseException):
    pass


async def test_what_kills_its_process_five_times_takes_no_other_delivery_with_it(
    db: Database,
) -> None:
    deadly = await db.inbox.accept("slack", "Ev1", {})
    other = await db.inbox.accept("slack", "Ev2", {})
    done: list[int] = []

    async def dispatch(delivery: int, _: Mapping[str, Any]) -> None:
        if delivery == deadly:
            raise _Killed
        done.append(delivery)
        await db.inbox.handled(delivery)

    again = Redelivery(deliveries=db.inbox, dispatch={"slack": dispatch}, left=0.0)
    for _ in range(5):
        with pytest.raises(_Killed):
            await again.serve()
    [spent] = await db.inbox.spent(timedelta(0))
    assert spent.id == deadly
    serving = asyncio.create_task(again.serve())
    async with asyncio.timeout(60):
        while not done:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    serving.cancel()
    assert done == [other]


@pytest.mark.parametrize("error", [ForgeRejected("GitLab said no."), KeyError("iid")])
async def test_what_breaks_or_is_refused_takes_no_other_delivery_with_it(
    db: Database, error: Exception
) -> None:
    bad = await db.inbox.accept("gitlab", "Ev1", {})
    other = await db.inbox.accept("gitlab", "Ev2", {})
    done = asyncio.Event()

    async def dispatch(delivery: int, _: Mapping[str, Any]) -> None:
        if delivery == bad:
            raise error
        await db.inbox.handled(delivery)
        done.set()

    again = Redelivery(deliveries=db.inbox, dispatch={"gitlab": dispatch}, left=0.0, every=0.02)
    serving = asyncio.create_task(again.serve())
    waiting = asyncio.create_task(done.wait())
    async with asyncio.timeout(60):
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        assert not serving.done()
        while not await db.inbox.spent(timedelta(0)):  # noqa: ASYNC110 - five attempts each
            await asyncio.sleep(0.01)
    serving.cancel()
    assert await db.pool.fetchval("SELECT handled_at IS NOT NULL FROM inbox WHERE id = $1", other)


LONG_AGO = "UPDATE inbox SET received_at = now() - interval '1 hour', tried_at = {}"


async def test_nobody_is_given_what_somebody_has_just_accepted_or_still_deals_with(
    db: Database,
) -> None:
    mine = await db.inbox.accept("slack", "Ev1", {})
    assert mine is not None
    await db.pool.execute("UPDATE inbox SET received_at = now() - interval '1 hour'")
    assert await db.inbox.unhandled(timedelta(minutes=5)) == []
    await db.pool.execute(LONG_AGO.format("now() - interval '1 hour'"))
    await db.inbox.held(mine)
    assert await db.inbox.unhandled(timedelta(minutes=5)) == []
    await db.pool.execute(LONG_AGO.format("NULL"))  # as an older version has stored it
    [left] = await db.inbox.unhandled(timedelta(minutes=5))
    assert left.id == mine


async def test_who_froze_with_a_delivery_in_hand_leaves_it_to_whoever_took_it_since(
    db: Database,
) -> None:
    assert await db.inbox.accept("slack", "Ev1", {})
    [frozen] = await db.inbox.unhandled(timedelta(0))
    [awake] = await db.inbox.unhandled(timedelta(0))
    assert await db.inbox.begun(awake.id, awake.tried_at)
    assert not await db.inbox.begun(frozen.id, frozen.tried_at)
    assert await db.pool.fetchval("SELECT attempts FROM inbox") == 1


async def test_what_was_handled_meanwhile_is_not_dispatched_again(db: Database) -> None:
    """By another process, while this one dealt with those before it."""
    first = await db.inbox.accept("slack", "Ev1", {})
    second = await db.inbox.accept("slack", "Ev2", {})
    third = await db.inbox.accept("slack", "Ev3", {})
    assert second is not None
    done: list[int] = []
    last = asyncio.Event()

    async def dispatch(delivery: int, _: Mapping[str, Any]) -> None:
        done.append(delivery)
        await db.inbox.handled(delivery)
        if delivery == first:
            await db.inbox.handled(second)
        if delivery == third:
            last.set()

    again = Redelivery(deliveries=db.inbox, dispatch={"slack": dispatch}, left=0.0)
    serving = asyncio.create_task(again.serve())
    async with asyncio.timeout(60):
        await last.wait()
    serving.cancel()
    assert done == [first, third]
