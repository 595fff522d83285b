"""What a week's runs came to: each figure at its borders."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from agent import events as e
from agent.outcomes import READ, Figures, Outcome, figures, outcome, week_before
from agent.pipeline import Judgement, Pipeline, Verdict
from agent.run import (
    CommitSha,
    Digest,
    Limits,
    Person,
    Request,
    RunId,
    RunStatus,
    Thread,
    TreeSha,
    Usage,
)

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = date(2026, 9, 21)
WEEK = week_before(MONDAY, UTC)
BEFORE = week_before(WEEK.first, UTC)
MIA = Person(id="U0MIA", name="mia")
HEAD = CommitSha("a" * 40)
START = WEEK.since + timedelta(hours=10)
HOUR = timedelta(hours=1)
MERGED = e.EffectDone(key="m", effect=e.EffectKind.MERGE, result="merged", commit=HEAD)


def accepted(channel: str = "C1") -> e.RunAccepted:
    request = Request(
        text="add an export",
        project="g/a",
        base_branch=None,
        requester=MIA,
        thread=Thread(team="T1", channel=channel, ts="1.0"),
        message="1.0",
    )
    return e.RunAccepted(request=request, limits=Limits())


def log(
    *facts: tuple[timedelta, e.Payload], start: datetime = START, channel: str = "C1"
) -> list[e.RunEvent]:
    """Of a run that was asked for at `start`; each fact so long after that."""
    every = [(timedelta(0), accepted(channel)), *facts]
    return [
        e.RunEvent(run=RunId(1), seq=n, at=start + after, actor="worker", payload=p, hash="")
        for n, (after, p) in enumerate(every, 1)
    ]


def began(kind: Any = "change", number: int = 1, **more: Any) -> e.DeliveryBegun:
    return e.DeliveryBegun(number=number, kind=kind, source="agent/1", target="main", **more)


def ended(status: RunStatus) -> e.RunEnded:
    return e.RunEnded(status=status)


def seen(verdict: Verdict, number: int = 7) -> e.PipelineSeen:
    pipeline = Pipeline(id=number, sha=HEAD, ref="r", source="push", status="x", url="")
    judged = Judgement(verdict=verdict, sentence="")
    return e.PipelineSeen(commit=HEAD, pipeline=pipeline, judgement=judged)


def answered(money: float, model: str = "known") -> e.ModelAnswered:
    usage = Usage(steps=1, prompt_tokens=100, money=money)
    return e.ModelAnswered(call=1, message=Digest("0"), usage=usage, model=model, finish="stop")


def both(events: Sequence[e.RunEvent]) -> tuple[Figures, Figures]:
    return figures(events, BEFORE), figures(events, WEEK)


DONE, OPEN = ended(RunStatus.SUCCEEDED), e.StatusChanged(status=RunStatus.QUEUED)


def test_a_week_is_seven_days_from_midnight_by_the_clock_of_its_place():
    week = week_before(MONDAY, BERLIN)
    assert (week.first, week.last) == (date(2026, 9, 14), date(2026, 9, 20))
    assert week.since == datetime(2026, 9, 13, 22, tzinfo=UTC)
    assert week.until - week.since == timedelta(days=7)


@pytest.mark.parametrize(
    ("monday", "since", "until", "hours"),
    [
        (date(2026, 3, 30), "2026-03-22T23:00Z", "2026-03-29T22:00Z", 167),
        (date(2026, 10, 26), "2026-10-18T22:00Z", "2026-10-25T23:00Z", 169),
    ],
)
def test_daylight_saving_makes_a_week_an_hour_shorter_or_longer(
    monday: date, since: str, until: str, hours: int
):
    week = week_before(monday, BERLIN)
    assert week.since == datetime.fromisoformat(since)
    assert week.until == datetime.fromisoformat(until)
    assert week.until - week.since == timedelta(hours=hours)
    assert week_before(week.first, BERLIN).until == week.since


@pytest.mark.parametrize(
    ("at", "where"),
    [
        (WEEK.since - timedelta(microseconds=1), "before"),
        (WEEK.since, "in"),
        (WEEK.until - timedelta(microseconds=1), "in"),
        (WEEK.until, "after"),
    ],
)
def test_a_run_belongs_to_the_week_in_which_it_was_asked_for(at: datetime, where: str):
    then, now = both(log(start=at))
    assert (then.asked, now.asked) == {"before": (1, 0), "in": (0, 1), "after": (0, 0)}[where]


def test_a_run_that_began_before_the_week_ends_and_costs_in_it():
    begun = BEFORE.until - HOUR
    then, now = both(
        log(
            (HOUR / 2, answered(0.5)),
            (HOUR * 2, answered(0.25)),
            (HOUR * 3, began()),
            (HOUR * 4, MERGED),
            (HOUR * 5, DONE),
            start=begun,
        )
    )
    assert then == Figures(asked=1, money=0.5)
    assert now == Figures(done=1, cycles=(HOUR * 4,), money=0.25)


@pytest.mark.parametrize(
    ("status", "field"),
    [
        (RunStatus.SUCCEEDED, "done"),
        (RunStatus.ESCALATED, "escalated"),
        (RunStatus.FAILED, "failed"),
        (RunStatus.CANCELLED, "stopped"),
    ],
)
def test_a_run_ends_in_one_way(status: RunStatus, field: str):
    made = figures(log((HOUR, ended(status))), WEEK)
    needed = int(status is RunStatus.ESCALATED)
    assert made == Figures(asked=1, needed=needed, **{field: 1})
    assert made.ended == 1


def test_a_run_that_was_continued_ends_once_a_week_by_its_last_end():
    failed = ended(RunStatus.FAILED)
    again = log((HOUR, failed), (HOUR * 2, OPEN), (HOUR * 3, DONE))
    assert figures(again, WEEK) == Figures(asked=1, done=1)
    still = log((HOUR, failed), (HOUR * 2, OPEN))
    assert figures(still, WEEK).ended == 0
    later = log((HOUR, failed), (timedelta(days=7), OPEN), (timedelta(days=8), DONE))
    assert figures(later, WEEK).failed == 1  # what came afterwards changes no week that is over


def test_an_end_of_the_week_before_is_not_told_again():
    then, now = both(log((HOUR, DONE), start=BEFORE.since))
    assert (then.done, now) == (1, Figures())


@pytest.mark.parametrize(
    "fact",
    [
        e.QuestionAsked(question="Which one?"),
        e.PushHeld(tree=TreeSha("b"), violations=()),
        e.TakenOver(by=MIA),
    ],
)
def test_a_run_needed_a_person_also_where_it_ended_well(fact: e.Payload):
    assert figures(log((HOUR, fact), (HOUR * 2, DONE)), WEEK).needed == 1
    assert figures(log((HOUR, fact)), WEEK).needed == 0  # counted with its end
    assert figures(log((HOUR, DONE)), WEEK).needed == 0


def test_a_run_left_to_people_and_retried_needed_a_person():
    facts = ((HOUR, ended(RunStatus.ESCALATED)), (HOUR * 2, OPEN), (HOUR * 3, DONE))
    assert figures(log(*facts), WEEK) == Figures(asked=1, done=1, needed=1)


def test_a_change_that_is_promoted_is_merged_once():
    then, now = both(
        log(
            (HOUR, began()),
            (HOUR * 2, MERGED),
            (HOUR * 3, began("promotion", 2)),
            (HOUR * 4, MERGED),
            (timedelta(days=7), began("promotion", 3)),
            (timedelta(days=7, hours=1), MERGED),
            start=BEFORE.since + timedelta(days=1),
        )
    )
    assert then.cycles == (HOUR * 2,)
    assert now.merged == 0


def test_a_delivery_that_was_begun_again_is_merged_once():
    rejected = e.DeliveryEnded(number=1, outcome="rejected")
    facts = ((HOUR, began()), (HOUR * 2, rejected), (HOUR * 3, began(number=2)), (HOUR * 9, MERGED))
    assert figures(log(*facts), WEEK).cycles == (HOUR * 9,)


def test_other_effects_are_no_merges():
    pushed = e.EffectDone(key="p", effect=e.EffectKind.PUSH, result="pushed")
    assert figures(log((HOUR, began()), (HOUR * 2, pushed)), WEEK).merged == 0


def test_a_revert_is_counted_when_it_is_merged_and_says_whether_its_merge_is_older():
    facts = ((HOUR, began()), (HOUR * 2, MERGED))
    back = began("revert", 2, reverts=HEAD)
    same = figures(log(*facts, (HOUR * 3, back), (HOUR * 4, MERGED)), WEEK)
    assert (same.merged, same.reverts, same.late_reverts) == (1, 1, 0)
    week = timedelta(days=7)
    then, now = both(
        log(*facts, (week, back), (week + HOUR, MERGED), start=BEFORE.since + timedelta(days=2))
    )
    assert (then.merged, then.reverts) == (1, 0)
    assert (now.merged, now.reverts, now.late_reverts) == (0, 1, 1)


def test_a_revert_that_was_not_merged_is_none():
    facts = ((HOUR, began()), (HOUR * 2, MERGED), (HOUR * 3, began("revert", 2, reverts=HEAD)))
    assert figures(log(*facts), WEEK).reverts == 0


@pytest.mark.parametrize(
    ("verdicts", "passed", "counted"),
    [
        ((Verdict.RUNNING, Verdict.GREEN), 1, 1),
        ((Verdict.RED, Verdict.GREEN), 0, 1),
        ((Verdict.GREEN, Verdict.RED), 1, 1),
        ((Verdict.CANCELED, Verdict.GREEN), 1, 1),
        ((Verdict.ABSENT,), 0, 0),
        ((Verdict.RUNNING,), 0, 0),
    ],
)
def test_the_first_pipeline_with_a_verdict_counts(
    verdicts: tuple[Verdict, ...], passed: int, counted: int
):
    facts = [(HOUR * n, seen(v, n)) for n, v in enumerate(verdicts, 1)]
    made = figures(log(*facts), WEEK)
    assert (made.passed, made.pipelines) == (passed, counted)


def test_a_first_pipeline_belongs_to_one_week_and_a_second_to_none():
    then, now = both(
        log((HOUR, seen(Verdict.RED)), (timedelta(days=7), seen(Verdict.GREEN)), start=BEFORE.since)
    )
    assert (then.pipelines, then.passed, now.pipelines) == (1, 0, 0)


def test_an_answer_without_a_price_is_told_and_not_guessed():
    made = figures(log((HOUR, answered(0.5)), (HOUR, answered(0.0, "new"))), WEEK)
    assert (made.money, made.unpriced) == (0.5, {"new"})


def test_runs_that_nobody_asked_for_are_counted_apart():
    day = outcome(log((HOUR, DONE)), WEEK, BEFORE)
    assert day == Outcome(people=Figures(asked=1, done=1))
    night = outcome(log((HOUR, DONE), channel=""), WEEK, BEFORE)
    assert night == Outcome(nights=Figures(asked=1, done=1))
    old = outcome(log((HOUR, DONE), start=BEFORE.since, channel=""), WEEK, BEFORE)
    assert old == Outcome(nights_before=Figures(asked=1, done=1))


def test_a_log_without_its_beginning_is_no_run():
    assert outcome([], WEEK, BEFORE) == Outcome()
    assert outcome(log((HOUR, DONE))[1:], WEEK, BEFORE) == Outcome()


def test_figures_of_runs_add_up():
    def merged(hours: int) -> Figures:
        return figures(log((HOUR, began()), (HOUR * hours, MERGED)), WEEK)

    every = reduce(Figures.__add__, map(merged, (2, 30, 4)))
    assert (every.asked, every.merged, every.cycle) == (3, 3, HOUR * 4)
    assert (every + merged(6)).cycle == HOUR * 5
    assert Figures().cycle is None


def test_facts_that_are_not_read_change_nothing():
    """The store leaves them out."""
    facts: list[tuple[timedelta, e.Payload]] = [
        (HOUR, e.QuestionAsked(question="?")),
        (HOUR, answered(0.5)),
        (HOUR, e.DeliveryEnded(number=1, outcome="delivered")),
        (HOUR, e.RunClaimed(worker="w", epoch=1)),
        (HOUR * 2, seen(Verdict.GREEN)),
        (HOUR * 3, began()),
        (HOUR * 4, MERGED),
        (HOUR * 5, DONE),
        (HOUR * 5, e.StopAsked(by=MIA, how="mention")),
    ]
    whole = log(*facts)
    kept = [event for event in whole if isinstance(event.payload, READ)]
    assert len(kept) == len(whole) - 3
    assert figures(kept, WEEK) == figures(whole, WEEK)
