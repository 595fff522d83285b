"""Walks pipelines job by job, and does to them what people ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from playground.faults import Fault, FaultMode
from playground.gitlab import ci_payloads, environments
from playground.gitlab.ci_config import ConfigError, JobSpec
from playground.gitlab.ci_records import Job, Pipeline
from playground.gitlab.pipeline_order import (
    ACTIVE,
    DONE,
    coverage,
    current,
    readiness,
    sources,
    status_of,
)
from playground.gitlab.records import Project, User
from playground.gitlab.runner import JobRunner, Outcome

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge


class PipelineWalk:
    """Without a runner, jobs stay pending."""

    def __init__(self, forge: Forge, runner: JobRunner | None) -> None:
        self.forge = forge
        self.runner = runner
        #: what was ordered for the job of this name
        self.faults: Callable[[str], list[Fault]] = lambda job: []
        #: makes the pipeline that a `trigger` job asks for
        self.start: Callable[..., Awaitable[Pipeline | None]] | None = None
        self.on_finished: Callable[[Project, Pipeline], Awaitable[None]] | None = None
        self._running: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ends: dict[int, asyncio.Event] = {}
        self._closed = False

    def advance(self, project: Project, pipeline: Pipeline) -> None:
        """Starts whatever may start now and settles the pipeline's status."""
        moved = not self._closed
        while moved:
            moved = False
            for job in current(pipeline):
                if job.status == "created":
                    ready = readiness(pipeline, job)
                    if ready != "wait":
                        moved = True
                        self._begin(project, pipeline, job, ready)
        self.settle(project, pipeline)

    def _begin(self, project: Project, pipeline: Pipeline, job: Job, ready: str) -> None:
        when = job.spec.when
        wanted = {"on_failure": "bad", "always": ready}.get(when, "good")
        if ready != wanted:
            self.set_status(project, pipeline, job, "skipped")
        elif when == "manual":
            self.set_status(project, pipeline, job, "manual")
        elif when == "delayed":
            self.set_status(project, pipeline, job, "scheduled")
            self.spawn(self._later(project, pipeline, job))
        else:
            self.enqueue(project, pipeline, job)

    async def _later(self, project: Project, pipeline: Pipeline, job: Job) -> None:
        await asyncio.sleep(job.spec.start_in)
        if job.status == "scheduled":
            self.enqueue(project, pipeline, job)

    def enqueue(self, project: Project, pipeline: Pipeline, job: Job) -> None:
        if environments.refused(self.forge, project, pipeline, job):
            job.failure_reason = "protected_environment_failure"
            self.set_status(project, pipeline, job, "failed")
            return
        self.set_status(project, pipeline, job, "pending")
        deployment = environments.of_job(project, job)
        if deployment and deployment.status == "blocked":
            self.set_status(project, pipeline, job, "manual")
        elif job.spec.trigger is not None:
            self.spawn(self._bridge(project, pipeline, job))
        elif self.runner is not None:
            task = self.spawn(self._run(self.runner, project, pipeline, job))
            self._running[job.id] = task
            task.add_done_callback(lambda ended: self._ended(project, pipeline, job, ended))

    def _ended(
        self, project: Project, pipeline: Pipeline, job: Job, task: asyncio.Task[None]
    ) -> None:
        self._running.pop(job.id, None)
        if task.cancelled():  # before its first step
            self._finish(project, pipeline, job, Outcome(exit_code=1, reason="canceled"))

    async def _run(self, runner: JobRunner, project: Project, pipeline: Pipeline, job: Job) -> None:
        outcome = Outcome(exit_code=1, reason="unknown_failure")
        try:
            async with runner.slots:
                self.set_status(project, pipeline, job, "running")
                self.settle(project, pipeline)
                outcome = await self._ordered(job) or await runner.run(
                    project, pipeline, job, sources(pipeline, job)
                )
        except asyncio.CancelledError:
            outcome = Outcome(exit_code=1, reason="canceled")
        finally:
            self._finish(project, pipeline, job, outcome)

    async def _ordered(self, job: Job) -> Outcome | None:
        """How the job ends if a fault is to decide it."""
        outcome: Outcome | None = None
        for fault in self.faults(f"job:{job.ref}:{job.name}"):
            if fault.mode is FaultMode.JOB_WAITS:
                await asyncio.sleep(fault.seconds)
            else:
                job.trace += b"ERROR: Job failed: exit code 1\n"
                outcome = Outcome(exit_code=1, reason=fault.error or "script_failure")
        return outcome

    def _finish(self, project: Project, pipeline: Pipeline, job: Job, outcome: Outcome) -> None:
        job.exit_code = outcome.exit_code
        if outcome.reason == "canceled":
            self.set_status(project, pipeline, job, "canceled")
        elif outcome.reason is None:
            job.coverage = coverage(job)
            self.set_status(project, pipeline, job, "success")
        else:
            job.failure_reason = outcome.reason
            if outcome.exit_code in job.spec.allow_exit_codes:
                job.allow_failure = True
            self.set_status(project, pipeline, job, "failed")
            if self._retry_left(pipeline, job, outcome):
                self.retry_job(project, pipeline, job, self.forge.state.users[job.user_id])
                return
        self.advance(project, pipeline)

    def _retry_left(self, pipeline: Pipeline, job: Job, outcome: Outcome) -> bool:
        wanted = job.spec.retry_when
        attempts = sum(each.name == job.name for each in pipeline.jobs)
        return attempts <= job.spec.retry_max and (
            "always" in wanted or (outcome.reason or "") in wanted
        )

    async def _bridge(self, project: Project, pipeline: Pipeline, job: Job) -> None:
        """A `trigger` job: a pipeline of another project or of another file."""
        trigger = job.spec.trigger
        user = self.forge.state.users[job.user_id]
        self.set_status(project, pipeline, job, "running")
        made: Pipeline | None = None
        include = trigger.get("include")
        target = project if include else self.forge.state.project_by(str(trigger.get("project")))
        if target is not None and self.forge.state.access(target, user) >= 30:
            repository = self.forge.repository(target)
            ref = pipeline.ref if include else str(trigger.get("branch") or target.default_branch)
            sha = pipeline.sha if include else await repository.resolve(ref)
            first = include[0] if isinstance(include, list) else include
            path = first.get("local", "") if isinstance(first, dict) else first or ""
            assert self.start is not None
            try:
                made = sha and await self.start(
                    target,
                    user,
                    ref,
                    sha,
                    source="parent_pipeline" if include else "pipeline",
                    variables=job.variables,
                    config_path=path.lstrip("/"),
                )
            except ConfigError as problem:
                job.trace += str(problem).encode()
        if not made or target is None:
            job.failure_reason = "downstream_pipeline_creation_failed"
            self.set_status(project, pipeline, job, "failed")
            return self.advance(project, pipeline)
        job.downstream_id = made.id
        if trigger.get("strategy") in ("depend", "mirror"):
            await self._finished(made)
        failed = trigger.get("strategy") and made.status != "success"
        self.set_status(project, pipeline, job, "failed" if failed else "success")
        self.advance(project, pipeline)

    async def _finished(self, pipeline: Pipeline) -> None:
        if pipeline.status not in DONE:
            await self._ends.setdefault(pipeline.id, asyncio.Event()).wait()

    def set_status(self, project: Project, pipeline: Pipeline, job: Job, status: str) -> None:
        job.status = status
        now = self.forge.state.now()
        if status == "running":
            job.started_at = now
            pipeline.started_at = pipeline.started_at or now
        elif status in ("success", "failed", "canceled"):
            job.finished_at = now
        environments.job_moved(self.forge, project, pipeline, job)
        payload = ci_payloads.job(self.forge, project, pipeline, job)
        self.forge.webhooks.fire(project, "job_events", payload)
        self.forge.state.publish("job", project, job.id)

    def settle(self, project: Project, pipeline: Pipeline) -> None:
        status = status_of(pipeline)
        if status == pipeline.status:
            return
        pipeline.status = status
        pipeline.updated_at = self.forge.state.now()
        finished = status in DONE
        pipeline.finished_at = pipeline.updated_at if finished else None
        self.announce(project, pipeline)
        if finished and pipeline.id in self._ends:
            self._ends.pop(pipeline.id).set()
        if finished and self.on_finished:
            self.spawn(self.on_finished(project, pipeline))

    def announce(self, project: Project, pipeline: Pipeline) -> None:
        payload = ci_payloads.pipeline(self.forge, project, pipeline)
        self.forge.webhooks.fire(project, "pipeline_events", payload)
        self.forge.state.publish("pipeline", project, pipeline.id)

    def new_job(self, pipeline: Pipeline, spec: JobSpec, user: User) -> Job:
        return Job(
            id=self.forge.state.next_id("job"),
            pipeline_id=pipeline.id,
            name=spec.name,
            stage=spec.stage,
            ref=pipeline.ref,
            tag=pipeline.tag,
            user_id=user.id,
            created_at=self.forge.state.now(),
            spec=spec,
            allow_failure=bool(spec.allow_failure),
        )

    # --- what people do to it

    def play(self, project: Project, pipeline: Pipeline, job: Job, user: User) -> None:
        job.user_id = user.id
        self.enqueue(project, pipeline, job)
        for later in current(pipeline):
            if later.status == "skipped":
                later.status = "created"
        self.advance(project, pipeline)

    def retry_job(self, project: Project, pipeline: Pipeline, job: Job, user: User) -> Job:
        again = self.new_job(pipeline, job.spec, user)
        again.variables = job.variables
        job.retried = True
        pipeline.jobs.insert(pipeline.jobs.index(job) + 1, again)
        for later in current(pipeline):
            if later.status == "skipped":
                later.status = "created"
        self.enqueue(project, pipeline, again)
        self.advance(project, pipeline)
        return again

    def retry(self, project: Project, pipeline: Pipeline, user: User) -> None:
        for job in current(pipeline):
            if job.status in ("failed", "canceled") and job.spec:
                self.retry_job(project, pipeline, job, user)

    def cancel_job(self, project: Project, pipeline: Pipeline, job: Job) -> None:
        task = self._running.get(job.id)
        if task is not None:
            _cancel(task)
        elif job.status in (*ACTIVE, "manual"):
            self.set_status(project, pipeline, job, "canceled")
            self.advance(project, pipeline)

    def cancel(self, project: Project, pipeline: Pipeline) -> None:
        for job in current(pipeline):
            if job.status in ACTIVE and job.id not in self._running:
                self.set_status(project, pipeline, job, "canceled")
        for job in current(pipeline):
            if job.id in self._running:
                _cancel(self._running[job.id])
        self.settle(project, pipeline)

    async def cancel_all(self, project: Project) -> None:
        for pipeline in project.pipelines.values():
            self.cancel(project, pipeline)
        ids = [job.id for line in project.pipelines.values() for job in line.jobs]
        tasks = [self._running[id] for id in ids if id in self._running]
        await asyncio.gather(*tasks, return_exceptions=True)

    def spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        self._closed = True
        while self._tasks:
            tasks = tuple(self._tasks)
            for task in tasks:
                _cancel(task)
            await asyncio.gather(*tasks, return_exceptions=True)


def _cancel(task: asyncio.Task[None]) -> None:
    """Once: a second time would break off the job's removal of its own folder."""
    if not task.cancelling():
        task.cancel()
