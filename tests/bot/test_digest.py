"""Digests in a channel: each morning once, whatever happens to Slack or to us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from booking import BookAt
from face import Face, open_face, settings_for
from unreadable import spoil

from agent.adapters.database import Database
from agent.maintenance.night import Finding, Group, Task, TaskReport
from agent.project import Maintenance
from agent.run import CommitSha, TreeSha
from bot.digest import DigestChannel, Digests, digest_channels
from bot.settings import ProjectEntry
from playground.faults import Fault, FaultMode
from playground.slack.records import Message
from playground.slack.server import SlackStandIn

API = "platform/api"
LEASE = timedelta(minutes=1)
DAY = datetime.now(UTC).date()
NOON = datetime.combine(DAY, time(12), UTC)
FOUND = tuple(
    Finding(tool="ruff", rule="F401", path="api.py", line=n, message="m", fingerprint=str(n))
    for n in range(3)
)
NEWS = TaskReport(task=Task.LINT, status="done", findings=FOUND, new=FOUND[:1])
NOTHING = TaskReport(task=Task.LINT, status="nothing")


@pytest.fixture
async def nightly(slack: SlackStandIn, db: Database) -> AsyncIterator[Face]:
    """The face of a service whose one project has nights."""
    settings = settings_for(slack)
    maintenance = Maintenance(schedule="0 2 * * *", tasks=("lint",))
    channels = (slack.world.channel_named("platform").id,)
    entry = ProjectEntry(path=API, channels=channels, maintenance=maintenance)
    settings = replace(settings, projects={API: entry})
    async with open_face(slack, db, settings=settings) as face:
        face.front.slack.settle = 0
        yield face


def digests(face: Face, owner: str = "one", at: datetime = NOON) -> Digests:
    db = face.runs.db
    return Digests(
        owner=owner,
        team=face.slack.world.team_id,
        channels=[DigestChannel(channel=face.channel, projects=(API,))],
        diary=db.nights,
        book=BookAt(db, at),
        store=db.store,
        slack=face.front.slack,
    )


async def night(db: Database, report: TaskReport = NEWS, days: int = 0) -> None:
    number = await db.nights.add(API, report.task)
    assert await db.nights.claim("worker", LEASE)
    await db.nights.finish(number, "worker", report)
    # the digest leaves to the next one what ended in this very moment
    back = timedelta(days=days, seconds=10)
    await db.pool.execute(
        "UPDATE nights SET ended_at = ended_at - $2::interval, fire_at = fire_at - $2::interval"
        " WHERE id = $1",
        number,
        back,
    )


def posted(face: Face) -> list[Message]:
    us = face.slack.world.app.bot_user
    every = face.slack.world.messages.values()
    return [m for m in every if m.user == us and m.channel == face.channel and "digest" in m.text]


async def test_the_morning_is_told_with_a_chart(nightly: Face, db: Database) -> None:
    await night(db, days=2)
    await night(db)
    await digests(nightly).tick()
    [message] = posted(nightly)
    assert "3 lint findings (1 new)" in message.text
    [image] = [block for block in message.blocks if block["type"] == "image"]
    file = nightly.slack.world.files[image["slack_file"]["id"]]
    assert file.content.startswith(b"\x89PNG")
    assert image["alt_text"].startswith("Line chart of open lint findings: unchanged at 3 from")


async def test_a_channel_that_cannot_be_told_keeps_no_other_waiting(
    nightly: Face, db: Database
) -> None:
    await night(db)
    telling = digests(nightly)
    broken = replace(telling.channels[0], channel="C0BROKEN", at="noon")
    telling.channels = [broken, *telling.channels]
    await telling.tick()
    assert len(posted(nightly)) == 1


async def test_a_run_that_cannot_be_read_is_told_of_by_what_the_night_made(
    nightly: Face, db: Database
) -> None:
    root = nightly.say("@agent tidy up")
    await nightly.until(lambda: nightly.ours(root))
    [run] = await db.store.runs()
    made = CommitSha("a" * 40), TreeSha("b" * 40)
    group = Group(title="Sort the imports", files=(), base=made[0], tree=made[1], run=run.id)
    await night(db, replace(NEWS, groups=(group,)))
    await spoil(db, run.id)
    await digests(nightly).tick()
    [message] = posted(nightly)
    assert "Sort the imports" in str(message.blocks)


async def test_before_its_hour_nothing_is_told(nightly: Face, db: Database) -> None:
    await night(db)
    await digests(nightly, at=NOON.replace(hour=7, minute=29)).tick()
    assert posted(nightly) == []


async def test_the_database_says_what_day_it_is(nightly: Face, db: Database) -> None:
    """So that machines whose clocks are hours apart tell the same morning once."""
    await night(db)
    telling = digests(nightly)
    telling.book = db.digests
    telling.channels = [replace(telling.channels[0], at="00:00")]
    await telling.tick()
    assert len(posted(nightly)) == 1
    there = await db.pool.fetchval("SELECT clock_timestamp()")
    names = {(there - back).date().isoformat() for back in (timedelta(0), timedelta(minutes=5))}
    assert await db.pool.fetchval("SELECT name FROM digests") in names


async def test_two_processes_tell_a_morning_once(nightly: Face, db: Database) -> None:
    await night(db)
    both = [digests(nightly, owner) for owner in ("one", "two")]
    for _ in range(3):
        await asyncio.gather(*(each.tick() for each in both))
    await digests(nightly, "restarted").tick()
    assert len(posted(nightly)) == 1


async def test_a_crash_after_the_post_does_not_post_again(nightly: Face, db: Database) -> None:
    await night(db)
    await digests(nightly, "dies").tick()
    await db.pool.execute(
        "UPDATE digests SET state = 'intended', ts = '', leased_until = clock_timestamp()"
    )
    await digests(nightly, "next").tick()
    [message] = posted(nightly)
    assert await db.pool.fetchval("SELECT ts FROM digests WHERE state = 'posted'") == message.ts


async def test_an_answer_that_is_lost_does_not_post_again(nightly: Face, db: Database) -> None:
    await night(db)
    nightly.slack.faults.set(Fault(mode=FaultMode.DROP_AFTER_APPLY, method="chat.postMessage"))
    await digests(nightly).tick()
    assert len(posted(nightly)) == 1


async def test_while_slack_is_down_it_waits_and_is_told_once_later(
    nightly: Face, db: Database
) -> None:
    await night(db)
    down = nightly.slack.faults.set(
        Fault(mode=FaultMode.FAIL, method="chat.postMessage", status=503, times=6)
    )
    telling = digests(nightly)
    await telling.tick()
    assert posted(nightly) == []
    assert down.hits == 6
    await asyncio.gather(telling.tick(), digests(nightly, "two").tick())
    await telling.tick()
    assert len(posted(nightly)) == 1


@pytest.mark.parametrize("method", ["files.getUploadURLExternal", "files.completeUploadExternal"])
async def test_without_its_picture_it_is_told_all_the_same(
    nightly: Face, db: Database, method: str
) -> None:
    await night(db, days=2)
    await night(db)
    nightly.slack.faults.set(Fault(mode=FaultMode.FAIL, method=method, error="invalid_arguments"))
    await digests(nightly).tick()
    [message] = posted(nightly)
    assert "image" not in {block["type"] for block in message.blocks}
    assert "section" in {block["type"] for block in message.blocks}


async def test_a_picture_that_slack_does_not_show_yet_is_left_out(
    nightly: Face, db: Database
) -> None:
    await night(db, days=2)
    await night(db)
    refused = Fault(mode=FaultMode.FAIL, method="chat.postMessage", error="invalid_blocks")
    nightly.slack.faults.set(refused)
    await digests(nightly).tick()
    [message] = posted(nightly)
    assert {"header", "section", "actions"} <= {block["type"] for block in message.blocks}
    assert "image" not in {block["type"] for block in message.blocks}


async def test_a_night_without_news_is_quiet_and_done(nightly: Face, db: Database) -> None:
    await night(db, NOTHING)
    await digests(nightly).tick()
    assert posted(nightly) == []
    assert await db.digests.closed(nightly.channel, DAY.isoformat())


async def test_a_night_at_work_is_waited_for_two_hours(nightly: Face, db: Database) -> None:
    await db.nights.add(API, Task.LINT)
    await db.pool.execute("UPDATE nights SET fire_at = fire_at - interval '1 minute'")
    early = NOON.replace(hour=8)
    await digests(nightly, at=early).tick()
    assert not await db.digests.closed(nightly.channel, DAY.isoformat())
    await digests(nightly).tick()
    [message] = posted(nightly)
    assert "not over yet" in str(message.blocks)


async def test_a_channel_that_is_gone_is_not_asked_again(nightly: Face, db: Database) -> None:
    await night(db)
    gone = digests(nightly)
    gone.channels = [DigestChannel(channel="C0GONE", projects=(API,))]
    await gone.tick()
    assert await db.digests.closed("C0GONE", DAY.isoformat())


async def test_the_next_digest_begins_where_the_last_one_ended(nightly: Face, db: Database) -> None:
    await night(db)
    telling = digests(nightly)
    assert await telling.post(telling.channels[0], "first", DAY)
    assert not await telling.post(telling.channels[0], "first", DAY)
    assert await telling.post(telling.channels[0], "second", DAY)
    assert len(posted(nightly)) == 1


async def test_fix_these_starts_one_run_under_the_digest(nightly: Face, db: Database) -> None:
    await night(db)
    await digests(nightly).tick()
    [message] = posted(nightly)
    for _ in range(2):
        await nightly.slack.people.click("mia", message, "digest_fix")
    await nightly.until(lambda: len(nightly.runs.of("start")) == 2)
    [run] = await db.store.runs()
    request = run.request
    assert (request.project, request.requester.name) == (API, "mia")
    assert request.thread.ts == message.ts
    assert "`api.py`: `F401` (`ruff`)" in request.text
    await nightly.until(lambda: len(nightly.thread(message)) == 2)  # its card


async def test_whoever_is_not_linked_starts_nothing(nightly: Face, db: Database) -> None:
    await night(db)
    await digests(nightly).tick()
    [message] = posted(nightly)
    await nightly.slack.people.click("lee", message, "digest_fix")
    await nightly.until(lambda: nightly.told("U0LEE"))
    assert await db.store.runs() == []


async def test_a_snoozed_project_is_not_told_for_a_week(nightly: Face, db: Database) -> None:
    await night(db)
    telling = digests(nightly)
    await telling.tick()
    [message] = posted(nightly)
    await nightly.slack.people.click("mia", message, "digest_menu", f"snooze:{API}")
    await nightly.until(lambda: "leaves" in "".join(nightly.told()))
    assert await db.digests.snoozed(nightly.channel) == {API}
    await night(db)
    await telling.post(telling.channels[0], "next", DAY)
    assert len(posted(nightly)) == 1


async def test_maintenance_says_what_is_scheduled_and_what_it_came_to(
    nightly: Face, db: Database
) -> None:
    nightly.say("@agent maintenance")
    await nightly.until(lambda: "no night yet" in "".join(nightly.told()))
    await night(db, replace(NEWS, not_checked=("mypy is not installed.",)))
    nightly.say("@agent maintenance")
    told = await nightly.until(lambda: [x for x in nightly.told() if "3 findings" in x])
    assert "`platform/api`: lint, next" in told[0]
    assert "3 findings, 1 new, 0 fixed, not checked: mypy is not installed" in told[0]
    assert nightly.runs.asked == []


async def test_a_paused_task_is_shown_as_paused(nightly: Face, db: Database) -> None:
    await night(db, TaskReport(task=Task.LINT, status="failed", problems=("No `<branch>`.",)))
    await db.pool.execute(
        "INSERT INTO schedules VALUES ($1, 'lint', '0 2 * * *', 'UTC', clock_timestamp(), true)",
        API,
    )
    nightly.say("@agent maintenance")
    told = await nightly.until(lambda: [x for x in nightly.told() if "Paused" in x])
    assert "failed: No `&lt;branch&gt;`" in told[0]


def test_channels_are_told_by_the_settings_of_their_projects(slack: SlackStandIn) -> None:
    nights = Maintenance(schedule="0 2 * * *", zone="Europe/Berlin", digest_at="08:15")
    settings = replace(
        settings_for(slack),
        projects={
            "g/a": ProjectEntry(path="g/a", channels=("C1",), maintenance=nights),
            "g/b": ProjectEntry(path="g/b", maintenance=replace(nights, digest="C1")),
            "g/c": ProjectEntry(path="g/c", channels=("C3",)),
            "g/d": ProjectEntry(path="g/d", maintenance=nights),
        },
    )
    berlin = DigestChannel(channel="C1", projects=("g/a", "g/b"), zone="Europe/Berlin", at="08:15")
    assert digest_channels(settings) == (berlin,)
