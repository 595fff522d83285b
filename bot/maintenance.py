"""`journeyman maintenance run`: a night's tasks now, on a project or on a local repository."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from agent.maintenance.night import Finding, Task, TaskReport
from agent.maintenance.tasks import TASKS
from agent.project import ProjectSettings
from bot.build import make_nights
from bot.maintenance_project import check_listed, of_project
from bot.repository import local_repository
from bot.settings import Settings, load
from bot.views import words as w

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = 20  #: findings of a kind that a terminal is given

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

Tell = Callable[[str], None]


async def maintenance_command(arguments: argparse.Namespace) -> int:
    settings = load()
    tasks = (Task(arguments.task),) if arguments.task else _tasks(settings, arguments.project)
    with progress(quiet=arguments.json) as tell:
        work = _local if arguments.repo else of_project
        reports = await work(settings, arguments, tasks, tell)
    if arguments.json:
        print(json.dumps({report.task: as_record(report) for report in reports}))
    else:
        for report in reports:
            for line in told(report, dry_run=arguments.dry_run):
                print(safe(line))
    return 1 if any(report.status == "failed" for report in reports) else 0


def _tasks(settings: Settings, project: str | None) -> tuple[Task, ...]:
    """Every task; tests only where the settings have them."""
    entry = settings.project(project) if project else settings.defaults
    off = {Task.TESTS} - {Task(each) for each in entry.maintenance.tasks}
    return tuple(task for task in Task if task in TASKS and task not in off)


async def _local(
    settings: Settings, arguments: argparse.Namespace, tasks: Sequence[Task], tell: Tell
) -> Sequence[TaskReport]:
    repository = local_repository(arguments.repo)
    project = _project(settings, arguments)
    nights = make_nights(settings)
    return await nights.run(repository, tasks, project, dry_run=arguments.dry_run, tell=tell)


def _project(settings: Settings, arguments: argparse.Namespace) -> ProjectSettings:
    if named := arguments.project:
        check_listed(settings, named)
    entry = settings.project(named) if named else settings.defaults
    found = ProjectSettings(
        path=named or "local",
        test_command=entry.test_command,
        setup=entry.setup,
        policy=entry.policy,
        maintenance=entry.maintenance,
    )
    return replace(found, test_command=arguments.test_command or found.test_command)


@contextmanager
def progress(*, quiet: bool = False, console: Console | None = None) -> Generator[Tell]:
    """What is being done: one line that changes on a terminal, else a line for each thing."""
    if quiet or not sys.stdout.isatty():
        out = sys.stderr if quiet else sys.stdout
        yield lambda line: print(f"  {safe(line)} …", file=out, flush=True)
        return
    from rich.console import Console
    from rich.markup import escape

    with (console or Console(highlight=False)).status("Beginning …") as status:
        yield lambda line: status.update(f"{escape(safe(line))} …")


def safe(line: str) -> str:
    """Names of files are in it, which could tell the terminal anything."""
    return _CONTROLS.sub("?", line.encode("utf-8", "replace").decode())


def told(report: TaskReport, *, dry_run: bool) -> list[str]:
    """A task's end, for people."""
    lines = ["", f"{report.task.capitalize()}: {_counts(report)}  ({report.seconds:.0f} s)"]
    for title, found in (("New", report.new), ("Stands", _old(report)), ("Gone", report.gone)):
        lines += [f"  {title:<7} {_line(each)}" for each in found[:SHOWN]]
        if len(found) > SHOWN:
            lines.append(f"          and {len(found) - SHOWN:,} more")
    for update in report.updates:
        lines.append(f"  ↑ {update.package} {update.current} → {update.target} ({update.level})")
    for left in report.left_out:
        lines.append(f"  ! {left.update.package} {left.update.target}: {left.reason}")
    for group in report.groups:
        place = "dry run: no branch" if dry_run else group.branch or "no branch"
        at = f" at {group.commit[:12]}" if group.commit and group.branch else ""
        by = f", published by run {group.run}" if group.run else ""
        lines.append(f"  ✓ {group.title}: {_many(len(group.files), 'file')}")
        lines.append(f"    Branch  {place}{at}{by}")
        if group.tests_after or group.tests_before:
            lines.append(f"    Tests   {w.results(group.tests_after, group.tests_before)}")
    lines += [f"  ! {problem}" for problem in report.problems]
    lines += [f"  ? {sentence}" for sentence in report.not_checked]
    return lines


def _counts(report: TaskReport) -> str:
    parts = [
        f"{len(report.findings):,} stand" if report.findings else "",
        f"{len(report.fixed):,} mended" if report.fixed else "",
        f"{len(report.new):,} new" if report.new else "",
        f"{len(report.gone):,} gone" if report.gone else "",
        _many(len(report.updates), "update") if report.updates else "",
        f"{len(report.left_out):,} left out" if report.left_out else "",
        f"{len(report.not_checked):,} not checked" if report.not_checked else "",
    ]
    said = ", ".join(part for part in parts if part)
    return said or "nothing found"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _old(report: TaskReport) -> Sequence[Finding]:
    new = {each.fingerprint for each in report.new}
    return [each for each in report.findings if each.fingerprint not in new]


def _line(each: Finding) -> str:
    place = f"{each.path}:{each.line}" if each.line else each.path
    return f"{place} {each.rule} {each.message} [{each.tool}]"


def as_record(report: TaskReport) -> dict[str, Any]:
    """What `--json` prints of a task; test cases are only counted."""
    groups = tuple(
        replace(
            group,
            tests_before=group.tests_before and group.tests_before.without_cases(),
            tests_after=group.tests_after and group.tests_after.without_cases(),
        )
        for group in report.groups
    )
    return TypeAdapter(TaskReport).dump_python(replace(report, groups=groups), mode="json")
