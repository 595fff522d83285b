"""Digests of weeks in a channel: each week once, whatever happens to Slack or to us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from booking import BookAt
from face import Face, open_face, settings_for
from pastruns import BEGUN, DONE, MERGED, past_run

from agent.adapters.database import Database
from agent.maintenance.night import Task, TaskReport
from agent.project import Maintenance
from bot.digest import DigestChannel, Digests, digest_channels, weekly_channels
from bot.once import Once
from bot.settings import ProjectEntry
from bot.weekly import Weekly, newest
from playground.faults import Fault, FaultMode
from playground.slack.records import Message
from playground.slack.server import SlackStandIn

API = "platform/api"
BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = date(2020, 10, 26)  # the day after clocks in Berlin were put back
NINE = datetime(2020, 10, 26, 9, tzinfo=BERLIN)
SINCE = datetime(2020, 10, 18, 22, tzinfo=UTC)  # midnight there
UNTIL = datetime(2020, 10, 25, 23, tzinfo=UTC)
MOMENT, HOUR = timedelta(microseconds=1), timedelta(hours=1)


@pytest.fixture
async def weekly_face(slack: SlackStandIn, db: Database) -> AsyncIterator[Face]:
    async with open_face(slack, db) as face:
        face.front.slack.settle = 0
        yield face


def channel_of(face: Face, **changes: str | bool) -> DigestChannel:
    channel = DigestChannel(
        channel=face.channel, projects=(API,), zone="Europe/Berlin", weekly="Mon"
    )
    return replace(channel, **changes)


def weekly(face: Face, owner: str = "one", at: datetime = NINE, **changes: str | bool) -> Weekly:
    db = face.runs.db
    return Weekly(
        once=Once(
            owner=owner,
            team=face.slack.world.team_id,
            book=BookAt(db, at),
            slack=face.front.slack,
        ),
        channels=[channel_of(face, **changes)],
        logs=db.outcomes,
    )


async def merged(db: Database, at: datetime, project: str = API) -> None:
    """A run that was asked for an hour before that moment."""
    await past_run(db, project, (at - HOUR, BEGUN), (at, MERGED), (at, DONE))


def posted(face: Face) -> list[Message]:
    us = face.slack.world.app.bot_user
    every = face.slack.world.messages.values()
    return [m for m in every if m.user == us and m.channel == face.channel and "digest" in m.text]


async def test_the_week_is_told_with_a_chart(weekly_face: Face, db: Database) -> None:
    await merged(db, SINCE + 2 * HOUR)
    await merged(db, SINCE - HOUR)
    await weekly(weekly_face).tick()
    [message] = posted(weekly_face)
    assert message.text == "Weekly digest, 19–25 October: 1 run asked for, 1 merged."
    [image] = [block for block in message.blocks if block["type"] == "image"]
    file = weekly_face.slack.world.files[image["slack_file"]["id"]]
    assert file.content.startswith(b"\x89PNG")
    assert "1 asked for (1), 1 done (1), 1 merged (1)" in image["alt_text"]


async def test_a_week_ends_at_midnight_there_also_when_clocks_are_put_back(
    weekly_face: Face, db: Database
) -> None:
    for at in (SINCE - MOMENT, SINCE, UNTIL - MOMENT, UNTIL):
        await merged(db, at)
    await weekly(weekly_face).tick()
    [message] = posted(weekly_face)
    assert "2 merged (median 1 h)" in str(message.blocks)
    assert "The week before: 2 asked for, 1 merged" in str(message.blocks)


async def test_a_channel_that_cannot_be_told_keeps_no_other_waiting(
    weekly_face: Face, db: Database
) -> None:
    await merged(db, SINCE + HOUR)
    telling = weekly(weekly_face)
    broken = replace(telling.channels[0], channel="C0BROKEN", at="noon")
    telling.channels = [broken, *telling.channels]
    await telling.tick()
    assert len(posted(weekly_face)) == 1


async def test_two_processes_tell_a_week_once(weekly_face: Face, db: Database) -> None:
    await merged(db, SINCE + HOUR)
    both = [weekly(weekly_face, owner) for owner in ("one", "two")]
    for _ in range(3):
        await asyncio.gather(*(each.tick() for each in both))
    await weekly(weekly_face, "restarted", NINE + timedelta(days=6)).tick()
    assert len(posted(weekly_face)) == 1


async def test_a_crash_after_the_post_does_not_post_again(weekly_face: Face, db: Database) -> None:
    await merged(db, SINCE + HOUR)
    await weekly(weekly_face, "dies").tick()
    await db.pool.execute(
        "UPDATE digests SET state = 'intended', ts = '', leased_until = clock_timestamp()"
    )
    await weekly(weekly_face, "next").tick()
    [message] = posted(weekly_face)
    assert await db.pool.fetchval("SELECT ts FROM digests WHERE state = 'posted'") == message.ts


async def test_while_slack_is_down_it_waits_and_is_told_once_later(
    weekly_face: Face, db: Database
) -> None:
    await merged(db, SINCE + HOUR)
    await merged(db, UNTIL + HOUR)
    down = weekly_face.slack.faults.set(
        Fault(mode=FaultMode.FAIL, method="chat.postMessage", status=503, times=6)
    )
    await weekly(weekly_face).tick()
    assert posted(weekly_face) == []
    assert down.hits == 6
    next_day = [weekly(weekly_face, owner, NINE + timedelta(days=1)) for owner in ("one", "two")]
    await asyncio.gather(*(each.tick() for each in next_day))
    await asyncio.gather(*(each.tick() for each in next_day))
    [message] = posted(weekly_face)
    assert message.text == "Weekly digest, 19–25 October: 1 run asked for, 1 merged."


async def test_each_week_is_told(weekly_face: Face, db: Database) -> None:
    await merged(db, SINCE + HOUR)
    await merged(db, UNTIL + HOUR)
    telling = weekly(weekly_face)
    await telling.tick()
    telling.once.book = BookAt(db, NINE + timedelta(days=7))
    await telling.tick()
    assert [m.text.split(":")[0] for m in posted(weekly_face)] == [
        "Weekly digest, 19–25 October",
        "Weekly digest, 26 October – 1 November",
    ]


async def test_a_week_without_runs_is_quiet_and_done(weekly_face: Face, db: Database) -> None:
    await merged(db, SINCE - HOUR)
    await merged(db, SINCE + HOUR, "platform/web")
    await weekly(weekly_face).tick()
    assert posted(weekly_face) == []
    assert await db.digests.closed(weekly_face.channel, f"week:{MONDAY}")


async def test_a_week_without_runs_is_one_line_where_that_is_wanted(weekly_face: Face) -> None:
    await weekly(weekly_face, quiet_line=True).tick()
    [message] = posted(weekly_face)
    assert message.text == "Weekly digest, 19–25 October: no runs."


async def test_a_week_takes_nothing_from_the_nights(weekly_face: Face, db: Database) -> None:
    number = await db.nights.add(API, Task.LINT)
    assert await db.nights.claim("worker", timedelta(minutes=1))
    failed = TaskReport(task=Task.LINT, status="failed", problems=("No such branch.",))
    await db.nights.finish(number, "worker", failed)
    await db.pool.execute("UPDATE nights SET ended_at = ended_at - interval '10 seconds'")
    await merged(db, SINCE + HOUR)
    telling = weekly(weekly_face)
    await telling.tick()
    digests = Digests(
        owner="one",
        team=weekly_face.slack.world.team_id,
        channels=telling.channels,
        diary=db.nights,
        book=telling.once.book,
        store=db.store,
        slack=weekly_face.front.slack,
    )
    assert await digests.post(telling.channels[0], MONDAY.isoformat(), MONDAY)
    assert [m.text.split(",")[0] for m in posted(weekly_face)] == [
        "Weekly digest",
        "Nightly digest",
    ]


@pytest.mark.parametrize(
    ("now", "day", "at", "told"),
    [
        ("2020-10-26T08:00+01:00", "Mon", "07:30", "2020-10-26"),
        ("2020-10-26T07:29+01:00", "Mon", "07:30", "2020-10-19"),
        ("2020-10-26T07:30+01:00", "Mon", "07:30", "2020-10-26"),
        ("2020-10-25T23:30+00:00", "Mon", "00:30", "2020-10-26"),  # 00:30 there
        ("2020-10-25T23:29+00:00", "Mon", "00:30", "2020-10-19"),
        ("2020-10-24T12:00+02:00", "Sun", "07:30", "2020-10-18"),
        ("2020-10-25T02:30+02:00", "Sun", "02:30", "2020-10-25"),  # that hour comes twice
        ("2020-10-25T02:45+01:00", "Sun", "02:30", "2020-10-25"),
        ("2020-03-29T01:59+01:00", "Sun", "02:30", "2020-03-22"),
        ("2020-03-29T03:30+02:00", "Sun", "02:30", "2020-03-29"),  # that hour was skipped
    ],
)
def test_a_week_is_due_at_its_hour_by_the_clock_there(
    now: str, day: str, at: str, told: str
) -> None:
    channel = DigestChannel(channel="C1", projects=(API,), zone="Europe/Berlin", at=at, weekly=day)
    assert newest(datetime.fromisoformat(now), channel) == date.fromisoformat(told)


def test_channels_are_told_of_weeks_by_settings_of_their_own(slack: SlackStandIn) -> None:
    weeks = Maintenance(weekly="Fri", zone="Europe/Berlin", digest_at="16:00")
    settings = replace(
        settings_for(slack),
        projects={
            "g/a": ProjectEntry(path="g/a", channels=("C1",), maintenance=weeks),
            "g/b": ProjectEntry(path="g/b", maintenance=replace(weeks, digest="C1")),
            "g/c": ProjectEntry(path="g/c", channels=("C1",)),
        },
    )
    friday = DigestChannel(
        channel="C1", projects=("g/a", "g/b"), zone="Europe/Berlin", at="16:00", weekly="Fri"
    )
    assert weekly_channels(settings) == (friday,)
    assert digest_channels(settings) == ()
