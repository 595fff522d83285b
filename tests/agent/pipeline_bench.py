"""A run whose pipeline is watched: the effect plane is the real one, GitLab is in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from engine_bench import FINISH, GOOD, PLAN, Bench, git

from agent.effects import EffectExecutor
from agent.events import PipelineSeen
from agent.pace import Pace
from agent.pipeline import Job, Pipeline
from agent.ports import Origin
from agent.run import CommitSha, Run, RunStatus
from agent.testing import FakeForge, FixedClock, Reply, ScriptedModel
from agent.work import Lookout


def job(name: str = "unit", status: str = "success", id: int = 70, **more: object) -> Job:
    made = Job(id=id, name=name, stage="test", status=status, url=f"https://gitlab.example/{id}")
    return replace(made, **more)


def pipeline(sha: str, status: str, *jobs: Job, id: int = 9, **more: object) -> Pipeline:
    made = Pipeline(
        id=id,
        sha=CommitSha(sha),
        ref="agent/1",
        source="push",
        status=status,
        url=f"https://gitlab.example/-/pipelines/{id}",
        jobs=jobs,
    )
    return replace(made, **more)


@dataclass(kw_only=True)
class Scene:
    bench: Bench
    forge: FakeForge
    model: ScriptedModel = field(default_factory=lambda: ScriptedModel(replies=[]))

    @property
    def head(self) -> str:
        """Of the run's branch at GitLab."""
        return git(self.bench.repository, "rev-parse", self.forge.requests[-1].source_branch)

    async def published(
        self, replies: Sequence[Reply] = (PLAN, GOOD, FINISH), **more: object
    ) -> Run:
        """A run up to its draft merge request, which GitLab knows to be at the pushed commit."""
        run = await self.bench.ask(**more)
        await self.work(run, *replies)
        await self.effects(run)
        await self.look(run)
        assert await self.status(run) is RunStatus.WATCHING, await self.bench.story(run)
        return run

    async def work(self, run: Run, *replies: Reply) -> ScriptedModel:
        self.model = await self.bench.go(run, replies)
        return self.model

    async def effects(self, run: Run) -> None:
        executor = EffectExecutor(
            store=self.bench.db.store,
            vaults=self.bench.vaults.of,
            reader=self.forge,
            writer=self.forge,
            projects=lambda path: self.bench.project,
            clock=self.bench.clock,
        )
        await executor.run_pending(run.id)
        if self.forge.requests:
            made = self.forge.requests[-1]
            self.forge.requests[-1] = replace(made, sha=CommitSha(self.head))

    async def look(self, run: Run, *replies: Reply, after: float = 15.0) -> ScriptedModel:
        """The next wake-up, so much later."""
        self.bench.clock.advance(after)
        return await self.work(run, *replies)

    async def says(self, run: Run, status: str, *jobs: Job, **more: object) -> None:
        """GitLab has this pipeline of the branch's head, and the run looks."""
        self.forge.lines = [pipeline(self.head, status, *jobs, **more)]
        await self.look(run)

    async def status(self, run: Run) -> RunStatus:
        return (await self.bench.state(run)).status

    async def seen(self, run: Run) -> list[str]:
        return [str(s.judgement.verdict) for s in await self.bench.facts(run, PipelineSeen)]


def scene(bench: Bench) -> Scene:
    bench.clock = FixedClock(datetime.now(UTC))
    forge = FakeForge(clone_url=str(bench.repository), path=bench.project.path, members={7: 30})

    async def origin(path: str) -> Origin:
        return Origin(url=str(bench.repository))

    bench.lookout = Lookout(forge=forge, origin=origin, pace=Pace(clock=bench.clock))
    return Scene(bench=bench, forge=forge)
