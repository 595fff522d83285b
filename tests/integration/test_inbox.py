"""Deliveries, when the database has little left to give."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from agent.adapters.database import Database
from agent.errors import StoreUnavailable
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

    again = Redelivery(deliveries=db.inbox, dispatch={"slack": dispatch})
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
