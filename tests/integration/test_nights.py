"""Nights: each comes once, is worked on by one, and is caught up once when it was missed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from agent.adapters.database import Database
from agent.maintenance.diary import ATTEMPTS, Schedule
from agent.maintenance.findings import Anchor, Findings, Seen
from agent.maintenance.night import Finding, Task, TaskReport

LINT = Schedule(project="demo/a", task=Task.LINT, cron="0 2 * * *", zone="UTC")
LEASE = timedelta(seconds=60)
EARLIER = datetime(2020, 1, 1, tzinfo=UTC)
DONE = TaskReport(task=Task.LINT, status="done")


def soon(schedule: Schedule, now: datetime) -> datetime:
    return now


def later(schedule: Schedule, now: datetime) -> datetime:
    return now + timedelta(days=1)


async def fired(db: Database, times: int = 1) -> None:
    """So many nights of the one schedule have come due."""
    await db.nights.tick([LINT], soon)
    for _ in range(times):
        assert await db.nights.tick([LINT], soon) == 1


async def test_a_schedule_seen_for_the_first_time_fires_at_its_next_moment(db: Database):
    assert await db.nights.tick([LINT], soon) == 0
    assert await db.nights.tick([LINT], later) == 1
    assert await db.nights.tick([LINT], later) == 0


async def test_however_many_tick_each_night_comes_once(db: Database):
    await db.nights.tick([LINT], soon)
    made = await asyncio.gather(*(db.nights.tick([LINT], later) for _ in range(20)))
    assert sum(made) == 1
    assert len(await db.nights.entries(since=EARLIER)) == 1


async def test_a_changed_schedule_does_not_fire_for_the_old_time(db: Database):
    await db.nights.tick([LINT], soon)
    other = Schedule(project="demo/a", task=Task.LINT, cron="0 4 * * *", zone="Europe/Berlin")
    assert await db.nights.tick([other], later) == 0
    assert await db.nights.tick([other], later) == 0


async def test_one_worker_has_a_night_and_others_get_the_next(db: Database):
    await fired(db, 2)
    first, second, third = await asyncio.gather(*(db.nights.claim(n, LEASE) for n in "abc"))
    taken = [night.id for night in (first, second, third) if night]
    assert len(taken) == len(set(taken)) == 2


async def test_a_dead_worker_s_night_is_taken_over_and_its_word_counts_no_more(db: Database):
    await fired(db)
    dead = await db.nights.claim("dead", timedelta(0))
    assert dead is not None
    alive = await db.nights.claim("alive", LEASE)
    assert alive is not None
    assert (alive.id, alive.attempt) == (dead.id, 2)
    assert not await db.nights.renew(dead.id, "dead", LEASE)
    assert not await db.nights.finish(dead.id, "dead", DONE)
    assert await db.nights.renew(dead.id, "alive", LEASE)
    assert await db.nights.finish(dead.id, "alive", DONE)
    assert await db.nights.claim("alive", LEASE) is None


async def test_a_night_that_kills_its_workers_is_given_up_and_says_so(db: Database):
    await fired(db)
    for _ in range(ATTEMPTS):
        assert await db.nights.claim("dies", timedelta(0)) is not None
    assert await db.nights.claim("next", LEASE) is None
    [entry] = await db.nights.entries(since=EARLIER, project="demo/a", task=Task.LINT)
    assert entry.report is not None
    assert entry.report.status == "failed"
    assert "begun 3 times" in entry.report.problems[0]


async def night(db: Database, report: TaskReport) -> None:
    due = await db.nights.claim("a", LEASE)
    assert due is not None
    await db.nights.finish(due.id, "a", report)


async def test_three_failures_in_a_row_pause_a_task_until_somebody_runs_it(db: Database):
    failed = TaskReport(task=Task.LINT, status="failed", problems=("No such branch.",))
    await fired(db, 5)
    for report in (failed, failed, DONE, failed, failed):
        await night(db, report)
    assert await db.nights.paused() == []
    await fired(db)
    await night(db, failed)
    assert await db.nights.paused() == [("demo/a", Task.LINT)]
    assert await db.nights.tick([LINT], soon) == 0
    await db.nights.add("demo/a", Task.LINT)
    assert await db.nights.paused() == []
    await night(db, DONE)
    assert await db.nights.tick([LINT], soon) == 1


async def test_a_night_that_is_taken_is_nobody_else_s_while_its_lease_lasts(db: Database):
    taken = await db.nights.take("demo/a", Task.LINT, "shell", LEASE)
    assert await db.nights.claim("service", LEASE) is None
    assert await db.nights.finish(taken.id, "shell", DONE)
    left = await db.nights.take("demo/a", Task.LINT, "killed shell", timedelta(0))
    again = await db.nights.claim("service", LEASE)
    assert again is not None
    assert (again.id, again.attempt) == (left.id, 2)


@pytest.mark.parametrize("text", ["E501 line too long", "\x00\ud800 odd", "naïve ✓"])
async def test_findings_come_back_as_they_were(db: Database, text: str):
    finding = Finding(tool="ruff", rule="E501", path="a.py", line=3, message=text)
    anchor = Anchor(line="1", before="2", after="3")
    kept = Findings(seen=(Seen(finding=finding, anchor=anchor),), files={"a.py": frozenset("ab")})
    assert await db.nights.last("demo/a") is None
    await db.nights.keep("demo/a", kept)
    assert await db.nights.last("demo/a") == kept


async def test_a_schedule_that_never_fires_keeps_no_other_from_its_nights(db: Database):
    never = Schedule(project="demo/a", task=Task.TESTS, cron="0 2 31 2 *", zone="UTC")

    def after(schedule: Schedule, now: datetime) -> datetime:
        if schedule is never:
            raise ValueError("0 2 31 2 * never fires.")
        return now

    await db.nights.tick([never, LINT], after)
    assert await db.nights.tick([never, LINT], after) == 1


@pytest.mark.parametrize("attempts", [0, ATTEMPTS])
async def test_a_night_of_a_newer_version_is_left_to_that_one(db: Database, attempts: int):
    await db.pool.execute(
        "INSERT INTO schedules (project, task, cron, zone, next_fire, paused)"
        " VALUES ('demo/a', 'paint', '', '', now(), true)"
    )
    await db.pool.execute(
        "INSERT INTO nights (project, task, fire_at, attempts, leased_until)"
        " VALUES ('demo/a', 'paint', now(), $1, now() - interval '1 hour')",
        attempts,
    )
    ours = await db.nights.add("demo/a", Task.LINT)
    due = await db.nights.claim("a", LEASE)
    assert due is not None
    assert due.id == ours
    assert await db.nights.claim("b", LEASE) is None
    assert [each.id for each in await db.nights.entries(since=EARLIER)] == [ours]
    assert await db.nights.paused() == []
    assert await db.pool.fetchval("SELECT ended_at IS NULL FROM nights WHERE task = 'paint'")


async def test_a_report_that_cannot_be_read_is_told_as_such_beside_the_others(db: Database):
    for _ in range(2):
        number = await db.nights.add("demo/a", Task.LINT)
        await db.nights.claim("a", LEASE)
        await db.nights.finish(number, "a", DONE)
        await db.pool.execute("UPDATE nights SET report = '{}' WHERE id = 1")
    spoilt, whole = (each.report for each in await db.nights.entries(since=EARLIER))
    assert spoilt is not None
    assert spoilt.status == "failed"
    assert "cannot be read" in spoilt.problems[0]
    assert whole == DONE
