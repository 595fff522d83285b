"""What is still being dealt with when a service ends."""

from __future__ import annotations

import asyncio

from face import open_face

from agent.adapters.database import Database
from bot.listeners.desk import Desk
from bot.records import Json
from playground.slack.server import SlackStandIn


async def test_what_takes_too_long_is_left_to_the_next_service(
    slack: SlackStandIn, db: Database
) -> None:
    """It would go on with connections that are closed, and tell people what it made of that."""
    async with open_face(slack, db) as face:
        desk = Desk(deliveries=db.inbox, slack=face.front.slack, linking=face.front.linking)
        delivery = await db.inbox.accept("slack", "key", {})
        assert delivery is not None
        begun, never = asyncio.Event(), asyncio.Event()

        async def work(body: Json) -> None:
            begun.set()
            await never.wait()

        task = asyncio.create_task(desk.handle(delivery, {}, work))
        await begun.wait()
        await desk.close(timeout=0.01)
        assert task.cancelled()
        assert not desk.busy(delivery)
    assert not await db.pool.fetchval("SELECT handled_at IS NOT NULL FROM inbox")
