"""What happens by the clock, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from unreadable import spoil

from agent.adapters.database import Database
from agent.errors import ForgeUnavailable
from agent.events import (
    HoldRefused,
    HoldReminded,
    Payload,
    PushHeld,
    QuestionAnswered,
    QuestionAsked,
    RunEvent,
)
from agent.ports import Write
from agent.run import Limits, Person, Request, Run, RunId, RunStatus, Thread, TreeSha
from agent.state import fold
from bot import schedule
from bot.schedule import Schedule, fires

MIA = Person(id="U0MIA", name="mia")


@dataclass(kw_only=True)
class Ahead:
    """A clock that is some hours ahead of the database's."""

    hours: float

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(hours=self.hours)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


ASKED = QuestionAsked(question="What first?")
HELD = PushHeld(tree=TreeSha("b" * 40), violations=())


async def asked(db: Database, what: Payload = ASKED, key: str = "1.0") -> Run:
    request = Request(
        text="make it better",
        project="g/p",
        base_branch=None,
        requester=MIA,
        thread=Thread(team="T", channel="C", ts="1.0"),
        message=key,
    )
    run, _ = await db.store.create(key, request, Limits())
    await db.store.claim(run.id, "worker")
    await db.store.write(run.id, Write(payloads=(), status=RunStatus.PLANNING), actor="worker")
    write = Write(payloads=(what,), status=RunStatus.WAITING_FOR_ANSWER)
    return await db.store.write(run.id, write, actor="worker")


def scheduled(db: Database, hours: float) -> Schedule:
    async def nothing() -> None:
        return

    return Schedule(store=db.store, waits=db.waits, clock=Ahead(hours=hours), prune=nothing)


async def test_a_question_waits_for_a_day(db: Database):
    run = await asked(db)
    await scheduled(db, 23.9).tick()
    assert (await db.store.run(run.id)).status is RunStatus.WAITING_FOR_ANSWER


async def test_a_question_that_nobody_answers_ends_the_run_and_says_what_is_kept(db: Database):
    run = await asked(db)
    await scheduled(db, 24.1).tick()
    state = fold(await db.store.events(run.id))
    assert state.status is RunStatus.CANCELLED
    assert "Nobody answered within 24 hours" in state.reason
    assert "kept" in state.reason


async def test_two_replicas_end_it_once(db: Database):
    run = await asked(db)
    late = scheduled(db, 30)
    await asyncio.gather(*(late.tick() for _ in range(5)))
    kinds = [type(event.payload).__name__ for event in await db.store.events(run.id)]
    assert kinds.count("RunEnded") == 1


async def test_an_answer_in_time_is_not_overtaken(db: Database):
    run = await asked(db)
    answer = Write(
        payloads=(QuestionAnswered(text="tests", by=MIA),), status=RunStatus.QUEUED, wake=True
    )
    await db.store.write(run.id, answer, actor=MIA.id)
    await scheduled(db, 30).tick()
    assert (await db.store.run(run.id)).status is RunStatus.QUEUED


async def test_whoever_is_asked_anew_in_this_very_moment_has_a_day_for_it(
    db: Database, monkeypatch: pytest.MonkeyPatch
):
    run, late = await asked(db), scheduled(db, 30)
    read = db.store.events

    async def events(of: RunId) -> Sequence[RunEvent]:
        """The first question is answered, and the run asks another one, after it was looked at."""
        found = await read(of)
        answer = QuestionAnswered(text="tests", by=MIA)
        write = Write(payloads=(answer, QuestionAsked(question="And then?")))
        await db.store.write(run.id, write, actor=MIA.id)
        return found

    monkeypatch.setattr(db.store, "events", events)
    await late.tick()
    assert (await db.store.run(run.id)).status is RunStatus.WAITING_FOR_ANSWER


async def test_a_hold_is_told_of_once_more_and_then_the_run_ends(db: Database):
    run = await asked(db, HELD)

    async def reminders() -> int:
        return sum(isinstance(e.payload, HoldReminded) for e in await db.store.events(run.id))

    await scheduled(db, 5.9).tick()
    assert await reminders() == 0
    soon = scheduled(db, 6.1)
    await asyncio.gather(*(soon.tick() for _ in range(5)))
    assert await reminders() == 1
    refused = HoldRefused(by=MIA, reason="You asked for this change yourself.")
    await db.store.write(run.id, Write(payloads=(refused,)), actor=MIA.id)
    await scheduled(db, 23.9).tick()
    assert await reminders() == 1
    assert (await db.store.run(run.id)).status is RunStatus.WAITING_FOR_ANSWER
    await scheduled(db, 24.1).tick()
    state = fold(await db.store.events(run.id))
    assert state.status is RunStatus.CANCELLED
    assert "Nobody accepted what holds the push within 24 hours" in state.reason
    assert "kept" in state.reason


async def test_the_clock_ticks_by_itself(db: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(schedule, "TICK", 0.05)
    run = await asked(db)
    serving = asyncio.create_task(scheduled(db, 30).serve())
    async with asyncio.timeout(60):
        async with db.store.changes() as changes:
            async for _ in changes:
                if (await db.store.run(run.id)).status is RunStatus.CANCELLED:
                    break
    serving.cancel()
    await asyncio.wait({serving})


async def test_runs_that_wait_for_an_approval_are_looked_after_and_no_others(db: Database):
    asking = await asked(db)
    await db.store.write(
        asking.id, Write(payloads=(), status=RunStatus.WORKING, wake=True), actor="worker"
    )
    seen: list[int] = []

    async def look_after(run: int) -> None:
        seen.append(run)

    ticking = scheduled(db, 0)
    ticking.look_after = look_after
    await ticking.tick()
    assert seen == []
    waits = Write(payloads=(), status=RunStatus.WAITING_FOR_APPROVAL)
    await db.store.write(asking.id, waits, actor="worker")
    await ticking.tick()
    assert seen == [asking.id]


def test_of_many_waits_each_has_its_turn_and_none_comes_again_before_a_quarter_of_an_hour():
    looks, now = schedule.Looks(), datetime(2026, 11, 23, tzinfo=UTC)
    waiting = [RunId(number) for number in range(1, 501)]
    turns: list[RunId] = []
    for minute in range(15):
        at = now + timedelta(minutes=minute)
        due = looks.due(waiting, at)
        assert len(due) <= schedule.MOST
        for run in due:
            looks.looked(run, at)
        turns += due
    assert turns == waiting
    looks.soon(RunId(77))
    assert looks.due(waiting, now + timedelta(minutes=14)) == [77]
    first = [run for run in waiting[:200] if run != 77]  # of the first minute
    assert looks.due(waiting, now + timedelta(minutes=15)) == [77, *first]


async def test_a_gate_is_not_looked_at_each_minute_but_when_something_is_heard_of_it(db: Database):
    run = await asked(db)
    on = Write(payloads=(), status=RunStatus.WORKING, wake=True)
    await db.store.write(run.id, on, actor="worker")
    waits = Write(payloads=(), status=RunStatus.WAITING_FOR_APPROVAL)
    await db.store.write(run.id, waits, actor="worker")
    seen: list[int] = []

    async def look_after(run: int) -> None:
        seen.append(run)

    ticking = scheduled(db, 0)
    ticking.look_after = look_after
    for _ in range(3):
        await ticking.tick()
    assert len(seen) == 1
    ticking.gates.soon(run.id)
    await ticking.tick()
    assert len(seen) == 2
    ticking.clock = Ahead(hours=0.3)
    await ticking.tick()
    assert len(seen) == 3


async def test_a_run_that_cannot_be_read_keeps_no_other_from_its_end(db: Database):
    unreadable, behind = await asked(db), await asked(db, key="2.0")
    await spoil(db, unreadable.id)
    await scheduled(db, 30).tick()
    assert (await db.store.run(behind.id)).status is RunStatus.CANCELLED
    assert (await db.store.run(unreadable.id)).status is RunStatus.WAITING_FOR_ANSWER


async def test_a_run_whose_question_to_gitlab_is_not_answered_lets_those_behind_it_go_first(
    db: Database,
):
    away, behind = await asked(db), await asked(db, key="2.0")
    for run in (away, behind):
        working = Write(payloads=(), status=RunStatus.WORKING, wake=True)
        await db.store.write(run.id, working, actor="worker")
        waits = Write(payloads=(), status=RunStatus.WAITING_FOR_APPROVAL)
        await db.store.write(run.id, waits, actor="worker")
    seen: list[int] = []

    async def look_after(run: int) -> None:
        seen.append(run)
        if run == away.id:
            raise ForgeUnavailable("GitLab does not answer.")

    ticking = scheduled(db, 0)
    ticking.look_after = look_after
    for minute in range(3):
        ticking.clock = Ahead(hours=minute / 60)
        await ticking.tick()
    assert seen == [away.id, behind.id, away.id, away.id]


async def test_what_is_heard_of_a_run_while_it_is_looked_at_makes_the_next_tick_look(db: Database):
    run = await asked(db)
    working = Write(payloads=(), status=RunStatus.WORKING, wake=True)
    await db.store.write(run.id, working, actor="worker")
    waits = Write(payloads=(), status=RunStatus.WAITING_FOR_APPROVAL)
    await db.store.write(run.id, waits, actor="worker")
    ticking, seen = scheduled(db, 0), list[int]()

    async def look_after(run: int) -> None:
        seen.append(run)
        if len(seen) == 1:
            ticking.gates.soon(RunId(run))

    ticking.look_after = look_after
    for _ in range(3):
        await ticking.tick()
    assert seen == [run.id] * 2


@pytest.mark.parametrize(
    ("cron", "moment", "next_"),
    [
        ("0 2 * * *", "2026-11-23 12:00", "2026-11-24 01:00"),
        # 02:30 is skipped in the night to 29 March, and comes twice in the night to 25 October
        ("30 2 * * *", "2026-03-28 12:00", "2026-03-29 01:30"),
        ("30 2 * * *", "2026-10-24 12:00", "2026-10-25 00:30"),
        ("30 2 * * *", "2026-10-25 00:30", "2026-10-26 01:30"),
        ("0 2 * * 1-5", "2026-11-27 12:00", "2026-11-30 01:00"),
    ],
)
def test_nights_fire_by_the_clock_of_their_zone_once_each(cron: str, moment: str, next_: str):
    at = datetime.fromisoformat(f"{moment}+00:00")
    assert fires(cron, "Europe/Berlin")(at) == datetime.fromisoformat(f"{next_}+00:00")


@pytest.mark.cell("F31", "N")
@pytest.mark.parametrize(
    ("zone", "cron", "day"),
    [
        ("Europe/Berlin", "30 2 * * *", "2026-03-25"),  # 29 March has no 02:30
        ("Europe/Berlin", "0 2 * * *", "2026-03-25"),
        ("Europe/Berlin", "59 2 * * *", "2026-10-21"),  # 25 October has two
        ("Europe/Berlin", "0 3 * * *", "2026-10-21"),
        ("America/New_York", "30 1 * * *", "2026-10-28"),
        ("Australia/Lord_Howe", "45 1 * * *", "2026-04-01"),  # by half an hour
        ("Australia/Lord_Howe", "15 2 * * *", "2026-10-01"),
    ],
)
def test_across_a_change_of_the_clock_each_day_has_one_night(zone: str, cron: str, day: str):
    """Also where whoever ticks comes late: the next is counted from when that was."""
    after, place = fires(cron, zone), ZoneInfo(zone)
    moment = datetime.fromisoformat(f"{day}T12:00+00:00")
    days: list[date] = []
    for minutes in range(10):
        moment = after(moment)
        days.append(moment.astimezone(place).date())
        moment += timedelta(minutes=minutes * 10)
    first = days[0]
    assert days == [first + timedelta(days=n) for n in range(10)]


@pytest.mark.parametrize("cron", ["", "2 am", "0 2 * *", "61 * * * *", "0 2 * * * *"])
def test_what_is_no_cron_is_refused(cron: str):
    with pytest.raises(ValueError, match=r".+"):
        fires(cron, "UTC")
