"""What a channel is told in the morning: of the nights that ended since, what is news."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, tzinfo

from agent.maintenance.diary import Entry
from agent.maintenance.night import Errand, Finding, Group, LeftOut, Task, TaskReport, Update

DAYS = 14  #: of the chart
_LATE = timedelta(days=3)  #: a night that fired longer ago and never ended is not waited for


@dataclass(frozen=True, kw_only=True)
class Day:
    """How much stood open when it ended, over all projects; None: not known."""

    date: date
    findings: int | None
    behind: int | None  #: dependencies for which there is an update


@dataclass(frozen=True, kw_only=True)
class ProjectMorning:
    """The nights of one project. `nights`: the entries that the reports come from."""

    project: str
    reports: tuple[TaskReport, ...] = ()
    nights: tuple[int, ...] = ()
    news: bool = False
    first: bool = False  #: nothing was known of it before
    paused: tuple[Task, ...] = ()  #: by these nights
    unfinished: tuple[Task, ...] = ()

    def of(self, task: Task) -> TaskReport | None:
        return next((each for each in self.reports if each.task is task), None)

    @property
    def groups(self) -> tuple[Group, ...]:
        return tuple(group for report in self.reports for group in report.groups)

    @property
    def errands(self) -> tuple[Errand, ...]:
        """What the agent was given."""
        return tuple(each for report in self.reports for each in report.errands if each.run)

    @property
    def judgement(self) -> tuple[tuple[Finding, ...], tuple[LeftOut, ...]]:
        """What no tool could settle, and a run may: new findings, and updates that were left
        out, but for what the agent was given already."""
        rest = {report.task: for_people(report) for report in self.reports}
        lint, updates = rest.get(Task.LINT), rest.get(Task.DEPENDENCIES)
        found = (lint.new or (lint.findings if self.first else ())) if lint else ()
        left = updates.left_out if updates else ()
        return found, tuple(each for each in left if not each.refused)


@dataclass(frozen=True, kw_only=True)
class Morning:
    date: date
    projects: tuple[ProjectMorning, ...]  #: those with nights that ended or are late
    trend: tuple[Day, ...]
    snoozed: frozenset[str] = frozenset()

    @property
    def told(self) -> tuple[ProjectMorning, ...]:
        """Those with news, the gravest first."""
        news = (each for each in self.projects if each.news and each.project not in self.snoozed)
        return tuple(sorted(news, key=_gravity))

    def reports(self, task: Task) -> tuple[TaskReport, ...]:
        return tuple(report for each in self.projects if (report := each.of(task)))


def morning(
    day: date,
    zone: tzinfo,
    entries: Sequence[Entry],
    *,
    since: datetime,
    until: datetime,
    paused: Collection[tuple[str, Task]] = (),
    snoozed: Iterable[str] = (),
) -> Morning:
    """`entries`: of all nights in the last weeks, oldest first. Of those that ended after `since`
    the newest count; those before are what they are compared with."""
    projects = sorted({entry.project for entry in entries})
    made = (
        _project(
            project,
            [entry for entry in entries if entry.project == project],
            since,
            until,
            [task for named, task in paused if named == project],
        )
        for project in projects
    )
    return Morning(
        date=day,
        projects=tuple(each for each in made if each.reports or each.unfinished),
        trend=_trend(day, zone, entries, until),
        snoozed=frozenset(snoozed),
    )


def for_people(report: TaskReport) -> TaskReport:
    """Without what the agent was given in that night."""
    given = {about for each in report.errands if each.run for about in each.about}
    return replace(
        report,
        findings=tuple(each for each in report.findings if each.fingerprint not in given),
        new=tuple(each for each in report.new if each.fingerprint not in given),
        left_out=tuple(each for each in report.left_out if each.update.offer not in given),
    )


def behind(report: TaskReport) -> tuple[Update, ...]:
    """Every update that there is: those in merge requests, and those that were left out."""
    return (*report.updates, *(left.update for left in report.left_out))


def vulnerable(report: TaskReport) -> tuple[Update, ...]:
    return tuple(update for update in behind(report) if update.advisories)


def _project(
    project: str,
    entries: Sequence[Entry],
    since: datetime,
    until: datetime,
    paused: Sequence[Task],
) -> ProjectMorning:
    reports: list[TaskReport] = []
    nights: list[int] = []
    unfinished: list[Task] = []
    news = first = False
    for task in Task:
        mine = [entry for entry in entries if entry.task is task]
        ended = [e for e in mine if e.ended_at and since < e.ended_at <= until and e.report]
        before = [e.report for e in mine if e.ended_at and e.ended_at <= since and e.report]
        known = [report for report in before if report.status != "failed"]
        if any(e.ended_at is None and until - _LATE < e.fire_at <= until for e in mine):
            unfinished.append(task)
        if ended:
            report = _joined([e.report for e in ended if e.report])
            reports.append(report)
            nights += [e.id for e in ended]
            first = first or (task is Task.LINT and not known)
            news = news or _is_news(report, known[-1] if known else None)
    stopped = tuple(task for task in paused if any(r.task is task for r in reports))
    return ProjectMorning(
        project=project,
        reports=tuple(reports),
        nights=tuple(nights),
        news=news or bool(stopped) or bool(unfinished),
        first=first,
        paused=stopped,
        unfinished=tuple(unfinished),
    )


def _joined(reports: Sequence[TaskReport]) -> TaskReport:
    """Several nights of one task between two mornings, as one: what stands is the newest's."""
    good = [report for report in reports if report.status != "failed"]
    newest = (good or reports)[-1]
    if len(reports) == 1:
        return newest
    standing = {each.fingerprint for each in newest.findings}
    new = {each.fingerprint: each for r in good for each in r.new if each.fingerprint in standing}
    fixed = {each.fingerprint: each for r in good for each in r.fixed}
    groups = {group.run or (group.base, group.tree): group for r in good for group in r.groups}
    failed = [report for report in reports if report.status == "failed"]
    errands = {each.run: each for report in good for each in report.errands}
    return replace(
        newest,
        status=reports[-1].status,
        new=tuple(new.values()),
        fixed=tuple(fixed.values()),
        groups=tuple(groups.values()),
        errands=tuple(errands.values()),
        problems=tuple(dict.fromkeys((*newest.problems, *(p for r in failed for p in r.problems)))),
    )


def _is_news(report: TaskReport, before: TaskReport | None) -> bool:
    if report.status == "failed" or report.new or report.errands:
        return True
    if before is None:
        return bool(report.findings or behind(report) or report.groups or report.not_checked)
    fixed = {each.fingerprint for each in report.fixed} - {e.fingerprint for e in before.fixed}
    unknown = set(report.not_checked) - set(before.not_checked)
    tried = set(report.problems) - set(before.problems)
    tried |= {each.waits for each in report.groups} - {"", *(each.waits for each in before.groups)}
    return bool(fixed or unknown or tried) or bool(_offers(report) - _offers(before))


def _offers(report: TaskReport) -> frozenset[tuple[object, ...]]:
    made = ((u.ecosystem, u.package, u.target, "in") for u in report.updates)
    left = ((e.update.ecosystem, e.update.package, e.update.target, "out") for e in report.left_out)
    warned = ((u.package, a.id, "advisory") for u in behind(report) for a in u.advisories)
    return frozenset((*made, *left, *warned))


def _gravity(each: ProjectMorning) -> tuple[object, ...]:
    failed = any(report.status == "failed" for report in each.reports)
    updates, lint = each.of(Task.DEPENDENCIES), each.of(Task.LINT)
    return (
        -len(vulnerable(updates)) if updates else 0,
        not (failed or each.paused),
        -len(lint.new) if lint else 0,
        each.project,
    )


def _trend(day: date, zone: tzinfo, entries: Sequence[Entry], until: datetime) -> tuple[Day, ...]:
    """A day without a night, or with one that failed, has what was known before; the day before
    the first night has what that one found before it fixed anything."""
    counts: dict[tuple[str, Task], dict[date, int]] = {}
    for e in entries:
        if e.report is None or e.report.status == "failed" or not e.ended_at or e.ended_at > until:
            continue
        on = e.ended_at.astimezone(zone).date()
        of = counts.setdefault((e.project, e.task), {on - timedelta(days=1): _found(e.report)})
        of[on] = _left(e.report)
    days = [day - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    return tuple(
        Day(date=d, findings=_sum(counts, Task.LINT, d), behind=_sum(counts, Task.DEPENDENCIES, d))
        for d in days
    )


def _found(report: TaskReport) -> int:
    return _left(report) + len(report.fixed)


def _left(report: TaskReport) -> int:
    return len(report.findings) if report.task is Task.LINT else len(behind(report))


def _sum(
    counts: Mapping[tuple[str, Task], Mapping[date, int]], task: Task, day: date
) -> int | None:
    known = [
        of[max(d for d in of if d <= day)]
        for (_, each), of in counts.items()
        if each is task and min(of) <= day
    ]
    return sum(known) if known else None
