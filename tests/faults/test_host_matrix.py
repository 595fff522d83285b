"""Disk, repository and clock of the service's own host, in phases of a run that no other test
tries."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from phases import PUSH, Scene, at
from road import Road, fault
from test_gate_slack import Ahead

import bot.roles.front
import bot.roles.work
from agent.run import ENDED, RunStatus

pytestmark = pytest.mark.usefixtures("staged")


def vaults(road: Road) -> list[Path]:
    """The service's own copies of repositories."""
    found = [each.parent for each in Path(road.env["JOURNEYMAN_HOME"]).rglob("vaults/**/HEAD")]
    assert found
    return found


def gone(road: Road) -> None:
    for each in vaults(road):
        shutil.rmtree(each)


def locked(road: Road) -> None:
    """By a git that was killed."""
    for each in vaults(road):
        for name in ("index.lock", "shallow.lock", "packed-refs.lock", "config.lock"):
            (each / name).touch()


@pytest.mark.cell("F30", "U")
@pytest.mark.parametrize("breaks", [gone, locked], ids=lambda breaks: breaks.__name__)
@pytest.mark.parametrize("phase", ["U"])
async def test_a_copy_of_the_repository_that_breaks_does_not_hold_up_the_push(
    scene: Scene, breaks: Callable[[Road], None]
):
    road = scene.road
    async with road.serving():
        away = road.gitlab.faults.set(fault("fail", PUSH, times=2, status=503))
        scene.ask()
        await scene.until(lambda: away.hits)
        breaks(road)
        await scene.ends()


@pytest.mark.parametrize("hours", [1.0, -1.0], ids=["on", "back"])
@pytest.mark.parametrize(
    "phase",
    [
        pytest.param("A", marks=[pytest.mark.cell("F31", "A"), pytest.mark.slow]),
        pytest.param("C", marks=pytest.mark.cell("F31", "C")),
    ],
)
async def test_a_clock_that_jumps_by_an_hour_changes_nothing(
    scene: Scene, hours: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Ahead, "hours", 0.0)
    monkeypatch.setattr(bot.roles.front, "SystemClock", Ahead)
    monkeypatch.setattr(bot.roles.work, "SystemClock", Ahead)
    async with scene.road.serving():
        async with at(scene):
            monkeypatch.setattr(Ahead, "hours", hours)
        await scene.ends()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, for what the service keeps beside PostgreSQL."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk of a few megabytes")
    folder = tmp_path / "home"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this host lets nobody mount a disk of a few megabytes")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_up(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 65_536)
        except OSError:
            return


@pytest.mark.slow
@pytest.mark.cell("F09", "W")
@pytest.mark.parametrize("phase", ["W"])
async def test_a_full_disk_ends_the_run_with_a_reason_and_retry_goes_on(small: Path, scene: Scene):
    road = scene.road
    async with road.serving():
        async with at(scene):
            fill = small / "fill"
            fill_up(fill)
        state = await road.reached(lambda state: state.status in ENDED)
        assert state.status in (RunStatus.FAILED, RunStatus.ESCALATED), await road.story()
        assert "No space left" in state.reason or "kept" in state.reason
        fill.unlink()
        assert scene.asked is not None
        road.reply(scene.asked, "@agent retry")
        await road.reached(lambda state: state.status is RunStatus.SUCCEEDED)
        assert [mr.source_branch for mr in road.merge_requests] == ["agent/1"]
