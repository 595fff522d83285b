"""What runs came to in a week, by their logs alone. Each figure is defined here, and nowhere else.

- asked: the run was accepted in the week.
- ended: the run stood ended when the week was over, and had ended for the last time in it.
- needed a person: of those that ended, the runs that at any time asked a question, had their push
  held, were left to people or taken over. An approval that a rule asks for is no such need.
- merged: the run's own change was merged in the week, by us or, while we watched, by somebody.
  A promotion to a further branch is the same change, and not counted again.
- cycle: from the moment when the run was asked for to that merge.
- first pipelines: those whose verdict came in the week, one a run: the first that passed or failed.
  One that failed and passed when it was tried again had failed.
- reverts: merged in the week, whenever that was merged which they take back.
- money: of the model's answers in the week, whenever their run was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from statistics import median

from agent import events as e
from agent.pipeline import Verdict
from agent.run import RunStatus

#: All that the figures are made of; a log may lack everything else.
READ: tuple[type, ...] = (
    e.RunAccepted,
    e.StatusChanged,
    e.RunEnded,
    e.ModelAnswered,
    e.QuestionAsked,
    e.PushHeld,
    e.TakenOver,
    e.PipelineSeen,
    e.DeliveryBegun,
    e.EffectDone,
)
_DECIDED = frozenset({Verdict.GREEN, Verdict.RED})


@dataclass(frozen=True, kw_only=True)
class Week:
    """From midnight to midnight by the clock of a place: daylight saving makes one of them an
    hour longer or shorter. `until` is no part of it."""

    first: date
    last: date
    since: datetime
    until: datetime

    def has(self, moment: datetime) -> bool:
        return self.since <= moment < self.until


def week_before(day: date, zone: tzinfo) -> Week:
    """The seven days before that one."""
    first = day - timedelta(days=7)
    return Week(
        first=first,
        last=day - timedelta(days=1),
        since=datetime.combine(first, time(), zone).astimezone(UTC),
        until=datetime.combine(day, time(), zone).astimezone(UTC),
    )


@dataclass(frozen=True, kw_only=True)
class Figures:
    asked: int = 0
    done: int = 0
    escalated: int = 0
    failed: int = 0
    stopped: int = 0
    needed: int = 0  #: a person, of those that ended
    cycles: tuple[timedelta, ...] = ()  #: of each run that was merged
    pipelines: int = 0  #: first ones
    passed: int = 0  #: of them
    reverts: int = 0
    late_reverts: int = 0  #: of them, of what was merged before the week
    money: float = 0.0  #: US dollars, as far as prices are known
    unpriced: frozenset[str] = frozenset()  #: models that answered, and for which no price is known

    @property
    def ended(self) -> int:
        return self.done + self.escalated + self.failed + self.stopped

    @property
    def merged(self) -> int:
        return len(self.cycles)

    @property
    def cycle(self) -> timedelta | None:
        """The median."""
        spans = [each.total_seconds() for each in self.cycles]
        return timedelta(seconds=median(spans)) if spans else None

    def __bool__(self) -> bool:
        return self != Figures()

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            asked=self.asked + other.asked,
            done=self.done + other.done,
            escalated=self.escalated + other.escalated,
            failed=self.failed + other.failed,
            stopped=self.stopped + other.stopped,
            needed=self.needed + other.needed,
            cycles=self.cycles + other.cycles,
            pipelines=self.pipelines + other.pipelines,
            passed=self.passed + other.passed,
            reverts=self.reverts + other.reverts,
            late_reverts=self.late_reverts + other.late_reverts,
            money=self.money + other.money,
            unpriced=self.unpriced | other.unpriced,
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Of one project, or of all. Nights are counted apart: nobody asked for their runs."""

    people: Figures = field(default_factory=Figures)
    before: Figures = field(default_factory=Figures)  #: the week before
    nights: Figures = field(default_factory=Figures)
    nights_before: Figures = field(default_factory=Figures)

    @property
    def spent(self) -> Figures:
        """Both together."""
        return self.people + self.nights

    @property
    def spent_before(self) -> Figures:
        return self.before + self.nights_before

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            people=self.people + other.people,
            before=self.before + other.before,
            nights=self.nights + other.nights,
            nights_before=self.nights_before + other.nights_before,
        )


def outcome(log: Sequence[e.RunEvent], week: Week, before: Week) -> Outcome:
    """Of one run; its log begins with `RunAccepted`."""
    first = log[0].payload if log else None
    if not isinstance(first, e.RunAccepted):
        return Outcome()
    now, then = figures(log, week), figures(log, before)
    if first.request.thread.channel:
        return Outcome(people=now, before=then)
    return Outcome(nights=now, nights_before=then)


def figures(log: Iterable[e.RunEvent], week: Week) -> Figures:
    """Of one run, as it stood when the week was over."""
    known = [event for event in log if event.at < week.until]
    answers = [event.payload for event in known if week.has(event.at)]
    answers = [p for p in answers if isinstance(p, e.ModelAnswered)]
    made = Figures(
        asked=sum(isinstance(x.payload, e.RunAccepted) and week.has(x.at) for x in known),
        money=sum(p.usage.money for p in answers),
        unpriced=frozenset(p.model for p in answers if p.usage.tokens and not p.usage.money),
    )
    return made + _end(known, week) + _first_pipeline(known, week) + _merges(known, week)


def _end(log: Sequence[e.RunEvent], week: Week) -> Figures:
    end: e.RunEnded | None = None
    needed = False
    for event in log:
        match event.payload:
            case e.RunEnded() as ended:
                end = ended if week.has(event.at) else None
                needed = needed or ended.status is RunStatus.ESCALATED
            case e.StatusChanged():
                end = None  # it went on
            case e.QuestionAsked() | e.PushHeld() | e.TakenOver():
                needed = True
            case _:
                pass
    if end is None:
        return Figures()
    return Figures(
        done=end.status is RunStatus.SUCCEEDED,
        escalated=end.status is RunStatus.ESCALATED,
        failed=end.status is RunStatus.FAILED,
        stopped=end.status is RunStatus.CANCELLED,
        needed=needed,
    )


def _first_pipeline(log: Sequence[e.RunEvent], week: Week) -> Figures:
    for event in log:
        p = event.payload
        if isinstance(p, e.PipelineSeen) and p.judgement.verdict in _DECIDED:
            green = p.judgement.verdict is Verdict.GREEN
            return Figures(pipelines=1, passed=green) if week.has(event.at) else Figures()
    return Figures()


def _merges(log: Sequence[e.RunEvent], week: Week) -> Figures:
    made = Figures()
    delivery: e.DeliveryBegun | None = None
    merged: list[datetime] = []  # the change, then its promotions
    for event in log:
        match event.payload:
            case e.DeliveryBegun() as begun:
                delivery = begun
            case e.EffectDone(effect=e.EffectKind.MERGE) if delivery and delivery.kind == "revert":
                late = bool(merged) and merged[-1] < week.since
                if week.has(event.at):
                    made += Figures(reverts=1, late_reverts=late)
            case e.EffectDone(effect=e.EffectKind.MERGE):
                if not merged and week.has(event.at):
                    made += Figures(cycles=(event.at - log[0].at,))
                merged.append(event.at)
            case _:
                pass
    return made
