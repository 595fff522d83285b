"""Deliveries, when the database has little left to give."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from agent.adapters.database import Database
from agent.errors import StoreUnavailable


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
