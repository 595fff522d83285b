"""From a green pipeline to the target: merged by rule, watched there, deployed, told."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from engine_bench import Bench, git
from pipeline_bench import Scene, job, pipeline, scene

from agent.events import DeliveryEnded, EffectIntended, GateOpened, TargetSeen
from agent.gate import EnvironmentRule, Rule, TargetRule
from agent.policy import Policy
from agent.run import CommitSha, Run, RunStatus
from agent.testing import FakeForge

ALONE = TargetRule(branch="main", rule=Rule(approvals=0))
ASKED = TargetRule(branch="main")


@dataclass(kw_only=True)
class Way(Scene):
    """A run whose own pipeline is green is on its way to `main`."""

    async def green(self, **more: object) -> Run:
        run = await self.published(**more)
        await self.says(run, "success", job())
        return run

    async def on(self, run: Run, **more: object) -> None:
        """A look, and what it wants done."""
        await self.look(run, **more)
        await self.done(run)

    async def done(self, run: Run) -> None:
        if await self.bench.wants(run):
            await self.effects(run)

    def target_says(self, status: str, *jobs: object, id: int = 30) -> None:
        """The pipeline of what was merged."""
        merged = self.forge.requests[-1].merged
        assert merged is not None
        made = pipeline(merged, status, *jobs, id=id, ref=self.forge.requests[-1].target_branch)
        self.forge.lines = [each for each in self.forge.lines if each.id != id]
        self.forge.lines.insert(0, made)

    async def reason(self, run: Run) -> str:
        return (await self.bench.state(run)).reason


def way(bench: Bench, *rules: TargetRule, places: tuple[EnvironmentRule, ...] = ()) -> Way:
    made = scene(bench)
    bench.project = replace(bench.project, targets=rules, environments=places)
    return Way(bench=made.bench, forge=made.forge)


async def test_green_merges_itself_and_is_watched_at_its_target(bench: Bench):
    here = way(bench, ALONE)
    run = await here.green()
    assert await here.status(run) is RunStatus.DELIVERING, await bench.story(run)
    await here.on(run)
    assert here.forge.requests[-1].state == "merged", await bench.story(run)
    here.target_says("running")
    await here.look(run)
    assert await here.status(run) is RunStatus.DELIVERING
    here.target_says("success", job())
    await here.look(run)
    state = await bench.state(run)
    assert state.status is RunStatus.SUCCEEDED, await bench.story(run)
    merged = here.forge.requests[-1].merged
    assert merged is not None
    assert state.reason == f"Merged !1 into main as {merged[:8]}; its pipeline passed."
    assert state.end is not None
    assert state.end.summary == "Turn the sum around"
    assert here.forge.calls.count("merge") == 1
