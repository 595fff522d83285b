"""`python -m benchmarks.crowd HOME REPOSITORIES`: works off a night of both tasks for each of the
repositories in a folder, as the service does, and prints one line of JSON for each project."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from agent.adapters.database import open_database
from agent.adapters.system_clock import SystemClock
from agent.maintenance.diary import Entry
from agent.maintenance.night import Task
from agent.maintenance.shift import NightShift
from agent.ports import Origin
from agent.project import ProjectSettings
from benchmarks.measure import own_cpu, resident
from benchmarks.scripted import environment
from bot.build import make_installer, make_sandbox, make_vaults
from bot.settings import load

GROUP = "bench"
BEGINNING = datetime.fromtimestamp(0, UTC)


async def work(home: Path, repositories: Path) -> None:
    settings = load(environment(JOURNEYMAN_HOME=str(home)))
    sandbox = make_sandbox(settings)
    async with open_database(home=home, fleet=2) as database:

        async def origin(path: str) -> Origin:
            return Origin(url=str(repositories / path.removeprefix(f"{GROUP}/")))

        shift = NightShift(
            name="bench",
            diary=database.nights,
            findings=database.nights,
            store=database.store,
            sandbox=sandbox,
            installer=make_installer(settings, sandbox),
            vaults=make_vaults(settings).of,
            origin=origin,
            projects=lambda path: ProjectSettings(path=path),
            clock=SystemClock(),
        )
        say(project="", seconds=0.0, rss=resident())
        for repository in sorted(repositories.iterdir()):
            project = f"{GROUP}/{repository.name}"
            added = [await database.nights.add(project, task) for task in Task]
            began = time.monotonic()
            while await shift.work():
                pass
            seconds = time.monotonic() - began
            every = await database.nights.entries(since=BEGINNING, project=project)
            told = [entry for entry in every if entry.id in added]
            say(project=project, seconds=seconds, rss=resident(), cpu=own_cpu(), **_came_to(told))


def _came_to(entries: list[Entry]) -> dict[str, object]:
    reports = [entry.report for entry in entries if entry.report is not None]
    groups = [group for report in reports for group in report.groups]
    return {
        "tasks": {report.task: report.status for report in reports},
        "fixed": sum(len(report.fixed) for report in reports),
        "updates": sum(len(report.updates) for report in reports),
        "runs": sum(group.run is not None for group in groups),
        "problems": [problem for report in reports for problem in report.problems],
    }


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), Path(sys.argv[2])))
