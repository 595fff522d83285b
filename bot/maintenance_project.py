"""A night's tasks now, on a project in GitLab: what they change becomes runs that publish it."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from agent.adapters.database import open_database
from agent.adapters.gitlab_forge import GitLabReader, GitLabWriter
from agent.adapters.postgres_files import is_made
from agent.adapters.system_clock import SystemClock
from agent.errors import SettingsError
from agent.maintenance.local import Forgetful
from agent.maintenance.night import Task, TaskReport
from agent.maintenance.shift import NightShift
from agent.maintenance.tasks import TASKS
from agent.maintenance.workshop import begin
from agent.ports import Origin
from agent.project import ProjectSettings
from bot.build import engine_project, make_installer, make_sandbox, make_vaults, tended_origin
from bot.settings import Settings, require

LATER = (
    "GitLab stopped answering, or another process has this night by now. `@agent maintenance` "
    "tells what comes of it."
)


async def of_project(
    settings: Settings,
    arguments: argparse.Namespace,
    tasks: Sequence[Task],
    tell: Callable[[str], None],
) -> Sequence[TaskReport]:
    """Raises `SettingsError`, and what GitLab and the database say, before anything is begun."""
    named, dry_run = arguments.project, arguments.dry_run
    if not named:
        raise SettingsError("Name a project of the settings with --project, or a --repo.")
    check_listed(settings, named)
    require(settings, ("maintenance",))
    if not (dry_run or settings.database_url or is_made(settings.home)):
        raise SettingsError(
            "There is no database of a service here. Set DATABASE_URL or JOURNEYMAN_HOME to the "
            "service's own, or add --dry-run, which needs none."
        )
    project = engine_project(settings, named)
    assert project is not None
    project = replace(project, test_command=arguments.test_command or project.test_command)
    async with AsyncExitStack() as stack:
        reader = await stack.enter_async_context(
            GitLabReader(settings.gitlab_url, settings.gitlab_read_token)
        )
        if dry_run:
            origin = reader.origin(await reader.project(named))
            return await _tried(settings, project, origin, tasks, tell)
        writer = None
        if token := settings.gitlab_token:
            writer = await stack.enter_async_context(GitLabWriter(settings.gitlab_url, token))

        async def origin_of(path: str) -> Origin:
            return await tended_origin(reader, path, writer)

        await origin_of(named)
        return await _done(settings, project, reader, origin_of, tasks, tell)


def check_listed(settings: Settings, named: str) -> None:
    """Raises `SettingsError` for a project that no rule allows anywhere."""
    if named not in settings.listed_projects:
        known = ", ".join(settings.listed_projects) or "none"
        raise SettingsError(f"--project {named} is not among those of the settings: {known}.")


async def _tried(
    settings: Settings,
    project: ProjectSettings,
    origin: Origin,
    tasks: Sequence[Task],
    tell: Callable[[str], None],
) -> Sequence[TaskReport]:
    """Compared with nothing: no database is asked."""
    sandbox = make_sandbox(settings)
    _ = sandbox.host  # says what is missing before anything is begun
    night = await begin(
        project,
        make_vaults(settings).of(project.path),
        origin,
        sandbox=sandbox,
        installer=make_installer(settings, sandbox),
        clock=SystemClock(),
        findings=Forgetful(),
        tell=tell,
    )
    return [replace(await TASKS[task](night), errands=()) for task in tasks]


async def _done(
    settings: Settings,
    project: ProjectSettings,
    reader: GitLabReader,
    origin: Callable[[str], Awaitable[Origin]],
    tasks: Sequence[Task],
    tell: Callable[[str], None],
) -> Sequence[TaskReport]:
    """Each is a night of the diary, held by this process: when it dies, the service does it."""
    sandbox = make_sandbox(settings)
    _ = sandbox.host
    async with open_database(home=settings.home, url=settings.database_url) as database:
        shift = NightShift(
            name=f"{socket.gethostname()}:{os.getpid()}:shell",
            diary=database.nights,
            findings=database.nights,
            store=database.store,
            sandbox=sandbox,
            installer=make_installer(settings, sandbox),
            vaults=make_vaults(settings).of,
            origin=origin,
            projects=lambda path: project if path == project.path else None,
            clock=SystemClock(),
            forge=reader,
            model=bool(settings.model),
            tell=tell,
        )
        reports: list[TaskReport] = []
        for task in tasks:
            due = await database.nights.take(project.path, task, shift.name, shift.lease)
            report = await shift.work_on(due)
            reports.append(report or TaskReport(task=task, status="failed", problems=(LATER,)))
        return reports
