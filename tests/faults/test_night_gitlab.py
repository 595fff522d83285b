"""Nights while GitLab is away, or has done away with the project: each told, nothing half-done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from night_road import SETTINGS, Nightly
from road import PROJECT, Road, fault, until
from turned import turned

import agent.maintenance.shift
from agent.maintenance.diary import PATIENCE
from agent.maintenance.night import Task
from playground import seed

READ = "GET /projects/:id"


@pytest.fixture
def nightly(road: Road, monkeypatch: pytest.MonkeyPatch) -> Nightly:
    monkeypatch.setattr(agent.maintenance.shift, "TASKS", {Task.LINT: turned})
    monkeypatch.setattr(agent.maintenance.shift, "PAUSE", 0.1)
    road.config(SETTINGS)
    return Nightly(road=road)


async def deleted(road: Road) -> None:
    await road.gitlab.forge.remove_project(road.project)


async def archived(road: Road) -> None:
    road.project.archived = True


async def renamed(road: Road) -> None:
    road.project.former_paths.add(PROJECT)
    road.project.path = "sums"


async def moved_away(road: Road) -> None:
    """To where nothing leads any more: a GitLab before 16.7."""
    road.project.path = "sums"


async def branchless(road: Road) -> None:
    await road.git("update-ref", "refs/heads/trunk", "refs/heads/main")
    await road.git("update-ref", "-d", "refs/heads/main")
    await road.git("update-ref", "-d", "refs/heads/trunk")


async def excluded(road: Road) -> None:
    road.project.members.pop(seed.account(road.gitlab.state, "journeyman").id)


async def without_role(road: Road) -> None:
    """It may still read."""
    road.project.members[seed.account(road.gitlab.state, "journeyman").id].access_level = 20


@pytest.mark.cell("F24", "N")
@pytest.mark.parametrize(
    ("what", "words"),
    [
        (deleted, "GitLab has no such thing, or GITLAB_READ_TOKEN may not see it"),
        (archived, "is archived in GitLab, so nothing could be pushed to it"),
        (renamed, "was renamed or moved in GitLab. Set its new path in the settings"),
        (moved_away, "GitLab has no such thing, or GITLAB_READ_TOKEN may not see it"),
        (branchless, "The repository is empty"),
        (without_role, "The account of GITLAB_TOKEN may not push to demo/calc"),
        (excluded, "GitLab has no such thing, or GITLAB_READ_TOKEN may not see it"),
    ],
)
async def test_a_project_that_is_gone_is_told_three_times_and_then_left_in_peace(
    nightly: Nightly, what: Callable[[Road], Awaitable[None]], words: str
) -> None:
    road = nightly.road
    async with road.serving():
        await what(road)
        for number in (1, 2, 3):
            assert await nightly.due()
            reports = await nightly.over(number)
            assert reports[-1].status == "failed"
            assert words in reports[-1].problems[0]
            assert ("is paused after three nights" in await nightly.told()) == (number == 3)
        assert not await nightly.due()
    assert words in await nightly.told()
    assert await nightly.told(since=datetime.now(UTC)) == ""  # said once
    assert road.merge_requests == []
    assert await road.runs() == []


@pytest.mark.cell("F17", "N")
async def test_while_gitlab_is_away_a_night_waits_and_is_not_lost(nightly: Nightly) -> None:
    road = nightly.road
    async with road.serving():
        down = road.gitlab.faults.set(fault("fail", READ, status=503, times=0))
        await nightly.due()
        await until(lambda: down.hits, 10, road.story)
        put_off = "SELECT owner IS NULL AND attempts = 0 AND started_at IS NOT NULL FROM nights"
        await until(lambda: road.db.pool.fetchval(put_off), 10, road.story)
        assert "not over yet" in await nightly.told()
        assert await nightly.untouched()
        road.gitlab.faults.clear()
        await road.db.pool.execute("UPDATE nights SET leased_until = clock_timestamp()")
        [report] = await nightly.over()
    assert report.status == "done"
    assert len(road.merge_requests) == 1


@pytest.mark.cell("F17", "N")
async def test_a_gitlab_that_stays_away_is_the_night_s_report(nightly: Nightly) -> None:
    road = nightly.road
    async with road.serving():
        road.gitlab.faults.set(fault("fail", READ, status=503, times=0))
        await nightly.due()
        began = "UPDATE nights SET started_at = clock_timestamp() - $1::interval"
        await road.db.pool.execute(began, PATIENCE)
        await road.db.pool.execute("UPDATE nights SET leased_until = clock_timestamp()")
        [report] = await nightly.over()
    assert report.status == "failed"
    assert "GitLab asks for patience (503)" in report.problems[0]
    assert "GitLab asks for patience" in await nightly.told()
    assert await nightly.untouched()
