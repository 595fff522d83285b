"""What five processes have died of is not tried a sixth time, and whoever sent it knows."""

from __future__ import annotations

import asyncio

from face import Face, open_face

from agent.adapters.database import Database
from playground.faults import Fault, FaultMode
from playground.slack.server import SlackStandIn

#: As it stands when the fifth process has died of it.
DIED = """
UPDATE inbox SET handled_at = NULL, attempts = 5, tried_at = clock_timestamp() - interval '1 hour'
"""
MARKED = "SELECT error LIKE 'Given up%' FROM inbox WHERE id = 1"
ROW = "SELECT handled_at IS NOT NULL AS handled, attempts, error FROM inbox"


async def _spent(slack: SlackStandIn, db: Database) -> None:
    async with open_face(slack, db) as face:
        face.say("@agent help")
        await face.until(face.told)
    slack.world.ephemerals.clear()
    await db.pool.execute(DIED)


def _given_up(face: Face) -> list[str]:
    return [text for text in face.told() if "I broke down over this message five times" in text]


async def test_it_is_told_once_and_marked(slack: SlackStandIn, db: Database) -> None:
    await _spent(slack, db)
    async with open_face(slack, db) as face:
        face.front.redelivery.every = 0.05
        await face.until(lambda: _given_up(face))
        face.say("@agent help")
        await face.until(lambda: len(face.told()) > 1)
    async with open_face(slack, db) as again:
        again.say("@agent help")
        await again.until(lambda: len(again.told()) > 2)
        assert len(_given_up(again)) == 1
        assert "delivery 1 " in _given_up(again)[0]
    row = await db.pool.fetchrow(f"{ROW} WHERE id = 1")
    assert row is not None
    assert (row["handled"], row["attempts"]) == (True, 5)
    assert row["error"] == "Given up: 5 processes ended while they dealt with it."


async def test_it_is_told_later_where_slack_does_not_answer(
    slack: SlackStandIn, db: Database
) -> None:
    await _spent(slack, db)
    away = Fault(mode=FaultMode.FAIL, method="chat.postEphemeral", status=503, times=0)
    silent = slack.faults.set(away)
    async with open_face(slack, db) as face:
        await face.until(lambda: silent.hits >= 6)  # as often as it tries
        assert not await db.pool.fetchval("SELECT handled_at IS NOT NULL FROM inbox")
    slack.faults.clear()
    await db.pool.execute(DIED)
    async with open_face(slack, db) as face:
        await face.until(lambda: _given_up(face))


async def test_what_gitlab_has_sent_is_marked_and_nobody_is_told(
    slack: SlackStandIn, db: Database
) -> None:
    assert await db.inbox.accept("gitlab", "hook", {})
    await db.pool.execute(DIED)
    async with open_face(slack, db) as face:
        face.say("@agent help")
        await face.until(face.told)
        async with asyncio.timeout(60):
            while not await db.pool.fetchval(MARKED):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert not _given_up(face)
