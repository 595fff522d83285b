"""The service, or the database under it, dies in each phase of a run; the oracle has the last word.

One test for each fault; its parameters are the phases, of which `make test` has the most telling.
"""

from __future__ import annotations

import signal

import pytest
from crossing import Crossing
from phases import Scene, at
from staged import stage


def phases(fault: str, quick: str, slow: str = "") -> pytest.MarkDecorator:
    cells = [
        pytest.param(
            phase,
            marks=[pytest.mark.cell(fault, phase), *([pytest.mark.slow] if phase in slow else ())],
        )
        for phase in quick + slow
    ]
    return pytest.mark.parametrize("phase", cells)


@pytest.fixture(autouse=True)
def _staged(monkeypatch: pytest.MonkeyPatch) -> None:
    stage(monkeypatch.setattr)


@pytest.fixture
def scene(crossing: Crossing, phase: str) -> Scene:
    return Scene(phase=phase, crossing=crossing)


@phases("F01", "APWUMGXS", "TCFN")
async def test_killed(scene: Scene):
    async with scene.process() as process:
        async with at(scene):
            await process.end(signal.SIGKILL)
    async with scene.road.serving():
        await scene.ends()
