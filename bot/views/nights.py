"""Short replies about nights: what is scheduled, what a run is asked to fix, what is snoozed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from agent.maintenance.diary import Entry
from agent.maintenance.morning import behind, for_people
from agent.maintenance.night import Finding, Task, TaskReport
from bot.views import text as t

FILES, LINES, UPDATES = 3, 20, 5  #: that one run is asked to see to
_PROJECTS = 20
NAMES = {Task.LINT: "Lint", Task.DEPENDENCIES: "Dependencies", Task.TESTS: "Tests"}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """`last`: the newest night of each task."""

    project: str
    tasks: tuple[Task, ...]
    next: datetime | None
    last: tuple[Entry, ...]
    paused: tuple[Task, ...]


def standing(projects: Sequence[Standing]) -> str:
    if not projects:
        return (
            "No project of this channel has nights. An operator can give one a `schedule` under "
            "`maintenance` in journeyman.toml."
        )
    lines = ["*Maintenance at night*"]
    for each in projects[:_PROJECTS]:
        names = _and([NAMES[task].lower() for task in each.tasks])
        when = t.at(each.next, "{date_short_pretty}, {time}") if each.next else ""
        scheduled = f"{names}, next {when}" if when else "nothing is scheduled"
        lines.append(f"• {t.code(each.project)}: {scheduled}")
        lines += [f"    {line}" for line in _tasks(each)]
    if len(projects) > _PROJECTS:
        lines.append(f"… and {t.count(len(projects) - _PROJECTS, 'more project')}")
    return "\n".join(lines)


def _and(names: Sequence[str]) -> str:
    most, last = ", ".join(names[:-1]), "".join(names[-1:])
    return f"{most} and {last}" if most else last


def _tasks(each: Standing) -> Iterator[str]:
    known = {entry.task: entry for entry in each.last}
    for task in Task:
        paused = " *Paused* after three nights that failed in a row." if task in each.paused else ""
        if entry := known.get(task):
            when = t.at(entry.ended_at or entry.fire_at, "{date_short_pretty}, {time}")
            came = came_to(entry.report) if entry.report else "not over yet"
            yield f"{NAMES[task]}, {when}: {came}.{paused}"
        elif task in each.tasks:
            yield f"{NAMES[task]}: no night yet.{paused}"


def came_to(report: TaskReport) -> str:
    """A night in a few words."""
    if report.status == "failed":
        told = t.quoted(" ".join(report.problems or report.not_checked), 200).rstrip(".")
        return f"failed: {told}" if told else "failed"
    if report.task is Task.LINT:
        parts = [
            t.count(len(report.findings), "finding"),
            f"{len(report.new):,} new",
            f"{len(report.fixed):,} fixed",
        ]
    elif report.task is Task.TESTS:
        parts = [f"{t.count(len(report.findings), 'changed line')} that no test runs"]
    else:
        parts = [
            f"{len(behind(report)):,} behind",
            t.count(len(report.updates), "update"),
            f"{len(report.left_out):,} left out",
        ]
    if report.not_checked:
        first = t.quoted(report.not_checked[0], 120).rstrip(".")
        more = len(report.not_checked) - 1
        parts.append(f"not checked: {first}{f' and {more:,} more' if more else ''}")
    return ", ".join(parts)


def snoozed(project: str, until: datetime) -> str:
    when = t.at(until, "{date_short_pretty}")
    return (
        f"The digest of this channel leaves {t.code(project)} out until {when}. Its nights go on, "
        "and the totals count it."
    )


def request(reports: Sequence[TaskReport]) -> str:
    """What a run is asked to do about these nights; empty when nothing is left to do. Of what
    tools and registries said, only names, places and versions."""
    rest = {report.task: for_people(report) for report in reports}
    lint, updates = rest.get(Task.LINT), rest.get(Task.DEPENDENCIES)
    parts = [
        *(_findings(lint.new or lint.findings) if lint else ()),
        *(_updates(updates) if updates else ()),
    ]
    if not parts:
        return ""
    head = "Fix what the night's maintenance found and no tool could mend. Change nothing else."
    return "\n".join((head, *parts))


def _findings(found: Sequence[Finding]) -> Iterator[str]:
    files: dict[str, list[Finding]] = {}
    for each in found:
        files.setdefault(each.path, []).append(each)
    if not files:
        return
    yield "Lint findings, where ignores and changed rules are no fixes:"
    for path, each in list(files.items())[:FILES]:
        places = ", ".join(
            f"{_word(f.rule or f.tool)} ({_word(f.tool)}){f' in line {f.line}' if f.line else ''}"
            for f in each[:LINES]
        )
        yield f"- {_word(path, 200)}: {places}"
    if len(files) > FILES:
        yield f"Leave the findings of {len(files) - FILES} more files for another run."


def _updates(report: TaskReport) -> Iterator[str]:
    if report.left_out:
        yield (
            "Updates that the tests did not pass with. Update each by the package manager and "
            "repair the code for it:"
        )
    for left in report.left_out[:UPDATES]:
        update = left.update
        yield (
            f"- {_word(update.package)} from {_word(update.current)} to {_word(update.target)}, "
            f"declared in {_word(update.manifest, 200)}"
        )


def _word(text: str, limit: int = 80) -> str:
    """Somebody else's name, marked as one."""
    return f"`{t.line(text, limit).replace('`', 'ˋ')}`"
