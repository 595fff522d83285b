"""A project's night from a shell: published by the service, tried without a trace, or refused
before anything is begun."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from night_road import EARLIER, SETTINGS
from road import PROJECT, Road, until
from turned import turned

import agent.maintenance.shift
import bot.maintenance_project
from agent.maintenance.night import Task
from agent.run import RunStatus
from bot.cli import main
from playground import seed


@dataclass(kw_only=True)
class Shell:
    road: Road
    monkeypatch: pytest.MonkeyPatch

    async def night(self, *words: str, project: str = PROJECT, **env: str) -> int:
        """The exit code."""
        for name, value in {**self.road.env, **env}.items():
            self.monkeypatch.setenv(name, value)
        argv = ["maintenance", "run", "--project", project, "--task", "lint", *words]
        return await asyncio.to_thread(main, argv)

    async def traces(self) -> list[object]:
        """All that a night could have left."""
        nights = await self.road.db.nights.entries(since=EARLIER)
        return [*nights, *await self.road.runs(), *self.road.merge_requests]


@pytest.fixture
def shell(road: Road, monkeypatch: pytest.MonkeyPatch) -> Shell:
    for module in (agent.maintenance.shift, bot.maintenance_project):
        monkeypatch.setattr(module, "TASKS", {Task.LINT: turned})
    road.config(SETTINGS)
    return Shell(road=road, monkeypatch=monkeypatch)


async def test_what_a_night_from_a_shell_changed_is_published_by_the_service(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    road = shell.road
    assert await shell.night() == 0, capsys.readouterr().err
    [run] = await road.runs()
    assert f"published by run {run}" in capsys.readouterr().out
    [entry] = await road.db.nights.entries(since=EARLIER)
    assert entry.ended_at is not None
    assert road.merge_requests == []
    async with road.serving():
        await until(lambda: road.merge_requests, story=road.story)
        await road.reached(lambda state: state.status is RunStatus.SUCCEEDED)
    [request] = road.merge_requests
    assert "return b + a" in await road.read(request.source_branch, "calc.py")


async def test_a_dry_run_shows_the_change_and_leaves_nothing_anywhere(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    assert await shell.night("--dry-run", "--json", DATABASE_URL=nowhere) == 0
    report = json.loads(capsys.readouterr().out)["lint"]
    assert report["groups"][0]["files"] == ["calc.py"]
    assert report["groups"][0]["run"] is None
    assert await shell.traces() == []
    assert await shell.road.git("for-each-ref", "--format=%(refname:short)") == "main"


@pytest.mark.parametrize(
    ("env", "code", "words"),
    [
        ({"GITLAB_URL": ""}, 2, "GITLAB_URL is not set: give the address of your GitLab, or"),
        ({"GITLAB_READ_TOKEN": ""}, 2, "GITLAB_READ_TOKEN is not set"),
        ({"GITLAB_READ_TOKEN": "glpat-wrong"}, 1, "GITLAB_READ_TOKEN"),
        ({"DATABASE_URL": ""}, 2, "There is no database of a service here."),
        (
            {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"},
            1,
            "PostgreSQL does not answer",
        ),
    ],
)
async def test_what_is_missing_is_said_before_anything_is_begun(
    shell: Shell,
    capsys: pytest.CaptureFixture[str],
    env: dict[str, str],
    code: int,
    words: str,
) -> None:
    assert await shell.night(**env) == code
    assert words in capsys.readouterr().err
    assert await shell.traces() == []


async def test_a_project_of_no_settings_is_not_looked_at(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await shell.night(project="demo/other") == 2
    told = f"--project demo/other is not among those of the settings: {PROJECT}."
    assert told in capsys.readouterr().err


def _excluded(road: Road) -> None:
    road.project.members.pop(seed.account(road.gitlab.state, "journeyman").id)


def _guest(road: Road) -> None:
    road.project.members[seed.account(road.gitlab.state, "journeyman").id].access_level = 20


def _archived(road: Road) -> None:
    road.project.archived = True


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (_excluded, "GitLab has no such thing, or GITLAB_READ_TOKEN may not see it"),
        (_guest, "may not push to demo/calc. Give it the role Developer there"),
        (_archived, "is archived in GitLab"),
    ],
)
async def test_where_nothing_could_be_published_nothing_is_begun(
    shell: Shell,
    capsys: pytest.CaptureFixture[str],
    what: Callable[[Road], None],
    words: str,
) -> None:
    what(shell.road)
    assert await shell.night() == 1
    assert words in capsys.readouterr().err
    assert await shell.traces() == []
