"""What is still being dealt with when a service ends."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from face import FakeRuns, open_face

from agent.adapters.database import Database
from agent.errors import StoreUnavailable, Unrecorded
from agent.run import Run
from bot.inbox import SOURCE
from bot.listeners import bolt
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


async def test_whoever_ends_it_in_good_order_gives_the_attempt_back(
    slack: SlackStandIn, db: Database
) -> None:
    delivery = await db.inbox.accept("nobody's", "key", {})
    assert delivery is not None
    await db.pool.execute("UPDATE inbox SET attempts = 5")
    async with open_face(slack, db) as face:
        desk = Desk(deliveries=db.inbox, slack=face.front.slack, linking=face.front.linking)
        begun, never = asyncio.Event(), asyncio.Event()

        async def work(body: Json) -> None:
            begun.set()
            await never.wait()

        task = asyncio.create_task(desk.handle(delivery, {}, work, again=True))
        await begun.wait()
        await desk.close(timeout=0.01)
        assert task.cancelled()
    assert await db.pool.fetchval("SELECT attempts FROM inbox") == 4


async def test_what_takes_long_stays_in_the_hands_of_who_deals_with_it(
    slack: SlackStandIn, db: Database
) -> None:
    delivery = await db.inbox.accept("nobody's", "key", {})
    assert delivery is not None
    async with open_face(slack, db) as face:
        links = face.front.linking
        desk = Desk(deliveries=db.inbox, slack=face.front.slack, linking=links, hold=0.01)
        free = asyncio.Event()

        async def work(body: Json) -> None:
            await db.pool.execute("UPDATE inbox SET tried_at = now() - interval '1 hour'")
            await free.wait()

        task = asyncio.create_task(desk.handle(delivery, {}, work))
        renewed = "SELECT tried_at > now() - interval '5 minutes' FROM inbox"
        async with asyncio.timeout(60):
            while not await db.pool.fetchval(renewed):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        free.set()
        await task
    assert await db.pool.fetchval("SELECT handled_at IS NOT NULL FROM inbox")


@pytest.mark.parametrize("stored", [True, False])
async def test_who_is_told_that_nothing_was_decided_can_rely_on_it(
    slack: SlackStandIn, db: Database, stored: bool
) -> None:
    """It is told once the delivery cannot come again, or else that it may until then."""
    handled = "SELECT handled_at IS NOT NULL FROM inbox WHERE id = 1"
    assert await db.inbox.accept("nobody's", "key", {}) == 1
    async with open_face(slack, db) as face:
        links = face.front.linking
        kept = _Kept(db, stored)
        desk = Desk(deliveries=cast("Any", kept), slack=face.front.slack, linking=links, hold=0.01)

        async def work(body: Json) -> None:
            raise Unrecorded("Nothing was decided.")

        root = face.say("a thread")
        body: Json = {
            "type": "block_actions",
            "user": {"id": "U0MIA"},
            "channel": {"id": face.channel},
            "message": {"ts": root.ts},
        }
        dealing = asyncio.create_task(desk.handle(1, body, work))
        [told] = await face.until(face.told)
        assert stored or not await db.pool.fetchval(handled)
        assert stored or desk.busy(1)
        kept.stored = True
        await dealing
    assert await db.pool.fetchval(handled)
    assert (told == "Nothing was decided.") == stored
    assert ("may still be carried out" in told) != stored


class _Kept:
    """What is kept of deliveries, where the last word may find no database."""

    def __init__(self, db: Database, stored: bool) -> None:
        self._inbox, self.stored = db.inbox, stored

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inbox, name)

    async def handled(self, id: int) -> None:
        if not self.stored:
            raise StoreUnavailable("PostgreSQL does not answer.")
        await self._inbox.handled(id)


def _said(text: str, ts: str, slack: SlackStandIn) -> Json:
    event = {
        "type": "app_mention",
        "channel": slack.world.channel_named("platform").id,
        "user": slack.world.user_named("mia").id,
        "text": f"<@{slack.world.app.bot_user}> {text}",
        "ts": ts,
    }
    return {"type": "event_callback", "team_id": slack.world.team_id, "event": event}


async def test_what_kills_a_process_is_counted_for_no_message_behind_it(
    slack: SlackStandIn, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its listener is at work long after it was acknowledged."""
    monkeypatch.setattr(bolt, "MOMENT", 60.0)
    begun, free = asyncio.Event(), asyncio.Event()
    start = FakeRuns.start

    async def slowly(self: FakeRuns, *args: Any, **more: Any) -> Run:
        begun.set()
        await free.wait()
        return await start(self, *args, **more)

    monkeypatch.setattr(FakeRuns, "start", slowly)
    deadly = slack.people.post("mia", "platform", "add an export")
    innocent = slack.people.post("mia", "platform", "help")
    for each, text in ((deadly, "add an export"), (innocent, "help")):
        assert await db.inbox.accept(SOURCE, each.ts, _said(text, each.ts, slack))
    async with open_face(slack, db) as face:
        await begun.wait()
        counted = "SELECT attempts FROM inbox WHERE source = 'slack' ORDER BY id"
        assert [row["attempts"] for row in await db.pool.fetch(counted)] == [1, 0]
        assert face.told() == []
        free.set()
        await face.until(face.told)
