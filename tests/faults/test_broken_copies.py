"""A host's copy of a repository breaks, or is removed, under a run or a night at work on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta

import pytest
from phases import Scene, at
from road import Road
from test_host_matrix import gone, locked, vaults

import agent.maintenance.shift

pytestmark = pytest.mark.usefixtures("staged")

Breaks = Callable[[Road], None]


def headless(road: Road) -> None:
    """What git takes for no repository at all."""
    for each in vaults(road):
        (each / "HEAD").unlink()


def hollow(road: Road) -> None:
    """By a disk that gave back less than it was given."""
    for each in vaults(road):
        for folder in (each / "objects").iterdir():
            if folder.name not in ("info", "pack"):
                shutil.rmtree(folder)
        for pack in (each / "objects" / "pack").glob("*.pack"):
            pack.chmod(0o600)
            pack.write_bytes(pack.read_bytes()[:40])


def busy(road: Road) -> None:
    """By a git that was killed while it wrote down what a workspace has."""
    locked(road)
    for each in vaults(road):
        for index in (each / "worktrees-index").iterdir():
            index.with_suffix(".lock").touch()


@pytest.mark.parametrize(
    "breaks", [gone, headless, hollow, busy], ids=lambda breaks: breaks.__name__
)
@pytest.mark.parametrize(
    "phase",
    [
        pytest.param("W", marks=pytest.mark.cell("F30", "W")),
        pytest.param("F", marks=[pytest.mark.cell("F30", "F"), pytest.mark.slow]),
        pytest.param("N", marks=[pytest.mark.cell("F30", "N"), pytest.mark.slow]),
    ],
)
async def test_a_copy_that_breaks_under_its_hands_is_made_anew_and_the_work_goes_on(
    scene: Scene, breaks: Breaks, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(agent.maintenance.shift, "AWAY", timedelta(seconds=1))
    async with scene.road.serving():
        async with at(scene):
            breaks(scene.road)
        await scene.ends()
