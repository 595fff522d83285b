"""Pipelines: made from the configuration of their commit, and walked job by job."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from agent.ports import Sandbox
from playground.gitlab import ci_config, ci_variables, environments, payloads, pipeline_plan
from playground.gitlab.ci_config import Config, ConfigError, JobSpec
from playground.gitlab.ci_records import Job, Pipeline
from playground.gitlab.git_repo import ZERO
from playground.gitlab.records import MergeRequest, Project, User
from playground.gitlab.runner import Image, Outcome, Runner

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge

ACTIVE = ("created", "waiting_for_resource", "preparing", "pending", "running", "scheduled")
DONE = ("success", "failed", "canceled", "skipped")
SKIP_CI = re.compile(r"\[(ci[ _-]?skip|skip[ _-]?ci)\]", re.IGNORECASE)


class Pipelines:
    def __init__(self, forge: Forge, sandbox: Sandbox | None, image: Image | None) -> None:
        self.forge = forge
        self.runner = Runner(forge, sandbox, image) if sandbox else None
        self.on_finished: Callable[[Project, Pipeline], Awaitable[None]] | None = None
        self._running: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ends: dict[int, asyncio.Event] = {}
        self._closed = False

    # --- making one

    async def on_push(
        self,
        project: Project,
        user: User,
        ref: str,
        sha: str,
        before: str,
        *,
        tag: bool,
        skip: bool,
    ) -> Pipeline | None:
        try:
            return await self.create(
                project, user, ref, sha, source="push", before=before, tag=tag, skip=skip
            )
        except ConfigError as problem:
            return self._failed(project, user, ref, sha, "push", str(problem))

    async def on_merge_request(
        self, project: Project, user: User, merge_request: MergeRequest, *, skip: bool = False
    ) -> Pipeline | None:
        """The pipeline that only merge requests get, if the configuration has one."""
        if merge_request.sha is None:
            return None
        try:
            return await self.create(
                project,
                user,
                merge_request.source_branch,
                merge_request.sha,
                source="merge_request_event",
                merge_request=merge_request,
                skip=skip,
            )
        except ConfigError:
            return None

    async def create(
        self,
        project: Project,
        user: User,
        ref: str,
        sha: str,
        *,
        source: str,
        before: str = ZERO,
        tag: bool = False,
        variables: Mapping[str, str] | None = None,
        merge_request: MergeRequest | None = None,
        skip: bool = False,
        config_path: str = "",
    ) -> Pipeline | None:
        """None when there is nothing to run. Raises `ConfigError`."""
        if not project.setting("jobs_enabled"):
            return None
        repository = self.forge.repository(project)

        async def read_file(path: str) -> str | None:
            found = await repository.file(sha, path)
            return found[1].decode("utf-8", "replace") if found else None

        path = config_path or project.setting("ci_config_path") or ".gitlab-ci.yml"
        text = await read_file(path)
        if text is None:
            return None
        config = await ci_config.read(text, read_file)
        pipeline = self._new(project, user, ref, sha, source)
        pipeline.before_sha, pipeline.tag = before, tag
        pipeline.variables = dict(variables or {})
        pipeline.merge_request_iid = merge_request.iid if merge_request else None
        commit = await repository.commit(sha)
        known = ci_variables.for_rules(self.forge, project, pipeline, commit, config)
        base = before if before != ZERO else None
        if merge_request:
            target = await repository.branch(merge_request.target_branch)
            base = await repository.merge_base(target, sha) if target else None
        tree = await pipeline_plan.read_tree(repository, sha, base)
        added = pipeline_plan.runs_at_all(config, known, tree)
        if added is None:
            return None
        specs = pipeline_plan.chosen(config, {**known, **added}, tree, pipeline)
        if not [spec for spec in specs if spec.stage not in (".pre", ".post")]:
            return None
        shared = {**config.variables, **added}
        self._fill(pipeline, config, specs, user, shared)
        if source in ("push", "merge_request_event") and (skip or SKIP_CI.search(commit.message)):
            pipeline.status = "skipped"
            for job in pipeline.jobs:
                job.status = "skipped"
        self._keep(project, pipeline)
        self._cancel_older(project, pipeline)
        self.advance(project, pipeline)
        return pipeline

    def _new(self, project: Project, user: User, ref: str, sha: str, source: str) -> Pipeline:
        now = self.forge.state.now()
        return Pipeline(
            id=self.forge.state.next_id("pipeline"),
            iid=0,
            project_id=project.id,
            sha=sha,
            ref=ref,
            source=source,
            user_id=user.id,
            created_at=now,
            updated_at=now,
        )

    def _keep(self, project: Project, pipeline: Pipeline) -> None:
        pipeline.iid = project.next_iid("pipeline")
        project.pipelines[pipeline.id] = pipeline
        self._announce(project, pipeline)

    def _fill(
        self,
        pipeline: Pipeline,
        config: Config,
        specs: list[JobSpec],
        user: User,
        shared: Mapping[str, str],
    ) -> None:
        used = {spec.stage for spec in specs}
        pipeline.stages = [stage for stage in config.stages if stage in used]
        order = {stage: place for place, stage in enumerate(pipeline.stages)}
        for spec in sorted(specs, key=lambda each: order[each.stage]):
            job = self._job(pipeline, spec, user)
            job.variables = {**shared, **spec.variables}
            pipeline.jobs.append(job)

    def _job(self, pipeline: Pipeline, spec: JobSpec, user: User) -> Job:
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

    def _failed(
        self, project: Project, user: User, ref: str, sha: str, source: str, errors: str
    ) -> Pipeline:
        pipeline = self._new(project, user, ref, sha, source)
        pipeline.status, pipeline.yaml_errors = "failed", errors
        pipeline.finished_at = pipeline.created_at
        self._keep(project, pipeline)
        return pipeline

    def _cancel_older(self, project: Project, pipeline: Pipeline) -> None:
        """A newer commit makes what has not started yet for its branch superfluous."""
        if project.setting("auto_cancel_pending_pipelines") != "enabled":
            return
        for older in project.pipelines.values():
            same = (older.ref, older.source) == (pipeline.ref, pipeline.source)
            waiting = older.status in ("created", "pending")
            if same and waiting and older.sha != pipeline.sha and not pipeline.tag:
                self.cancel(project, older)

    def external(
        self, project: Project, user: User, ref: str, sha: str, pipeline_id: int | None
    ) -> Pipeline:
        """The pipeline that statuses of other systems join: the commit's newest, or a new one."""
        known = [p for p in project.pipelines.values() if p.sha == sha and p.ref == ref]
        known = [p for p in known if pipeline_id in (None, p.id)]
        if known:
            return known[-1]
        pipeline = self._new(project, user, ref, sha, "external")
        self._keep(project, pipeline)
        return pipeline

    def report(
        self,
        project: Project,
        pipeline: Pipeline,
        user: User,
        name: str,
        status: str,
        external: dict[str, Any],
    ) -> Job:
        job = next((j for j in current(pipeline) if j.name == name and j.spec is None), None)
        if job is None or job.status in DONE:
            if job:
                job.retried = True
            spec = JobSpec(name=name, stage="external")
            job = self._job(pipeline, spec, user)
            job.spec = None
            pipeline.jobs.append(job)
        job.external |= {key: value for key, value in external.items() if value is not None}
        self._set(project, pipeline, job, status)
        self._settle(project, pipeline)
        return job

    # --- walking it

    def advance(self, project: Project, pipeline: Pipeline) -> None:
        """Starts whatever may start now and settles the pipeline's status."""
        moved = not self._closed
        while moved:
            moved = False
            for job in current(pipeline):
                if job.status == "created":
                    ready = _readiness(pipeline, job)
                    if ready != "wait":
                        moved = True
                        self._begin(project, pipeline, job, ready)
        self._settle(project, pipeline)

    def _begin(self, project: Project, pipeline: Pipeline, job: Job, ready: str) -> None:
        when = job.spec.when
        wanted = {"on_failure": "bad", "always": ready}.get(when, "good")
        if ready != wanted:
            self._set(project, pipeline, job, "skipped")
        elif when == "manual":
            self._set(project, pipeline, job, "manual")
        elif when == "delayed":
            self._set(project, pipeline, job, "scheduled")
            self._spawn(self._later(project, pipeline, job))
        else:
            self.enqueue(project, pipeline, job)

    async def _later(self, project: Project, pipeline: Pipeline, job: Job) -> None:
        await asyncio.sleep(job.spec.start_in)
        if job.status == "scheduled":
            self.enqueue(project, pipeline, job)

    def enqueue(self, project: Project, pipeline: Pipeline, job: Job) -> None:
        if environments.refused(self.forge, project, pipeline, job):
            job.failure_reason = "protected_environment_failure"
            self._set(project, pipeline, job, "failed")
            return
        self._set(project, pipeline, job, "pending")
        deployment = environments.of_job(project, job)
        if deployment and deployment.status == "blocked":
            self._set(project, pipeline, job, "manual")
        elif job.spec.trigger is not None:
            self._spawn(self._bridge(project, pipeline, job))
        elif self.runner is not None:
            task = self._spawn(self._run(self.runner, project, pipeline, job))
            self._running[job.id] = task
            task.add_done_callback(lambda ended: self._ended(project, pipeline, job, ended))

    def _ended(
        self, project: Project, pipeline: Pipeline, job: Job, task: asyncio.Task[None]
    ) -> None:
        self._running.pop(job.id, None)
        if task.cancelled():  # before its first step
            self._finish(project, pipeline, job, Outcome(exit_code=1, reason="canceled"))

    async def _run(self, runner: Runner, project: Project, pipeline: Pipeline, job: Job) -> None:
        outcome = Outcome(exit_code=1, reason="unknown_failure")
        try:
            async with runner.slots:
                self._set(project, pipeline, job, "running")
                self._settle(project, pipeline)
                outcome = await runner.run(project, pipeline, job, _sources(pipeline, job))
        except asyncio.CancelledError:
            outcome = Outcome(exit_code=1, reason="canceled")
        self._finish(project, pipeline, job, outcome)

    def _finish(self, project: Project, pipeline: Pipeline, job: Job, outcome: Outcome) -> None:
        job.exit_code = outcome.exit_code
        if outcome.reason == "canceled":
            self._set(project, pipeline, job, "canceled")
        elif outcome.reason is None:
            job.coverage = _coverage(job)
            self._set(project, pipeline, job, "success")
        else:
            job.failure_reason = outcome.reason
            if outcome.exit_code in job.spec.allow_exit_codes:
                job.allow_failure = True
            self._set(project, pipeline, job, "failed")
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
        self._set(project, pipeline, job, "running")
        made: Pipeline | None = None
        include = trigger.get("include")
        target = project if include else self.forge.state.project_by(str(trigger.get("project")))
        if target is not None and self.forge.state.access(target, user) >= 30:
            repository = self.forge.repository(target)
            ref = pipeline.ref if include else str(trigger.get("branch") or target.default_branch)
            sha = pipeline.sha if include else await repository.resolve(ref)
            first = include[0] if isinstance(include, list) else include
            path = first.get("local", "") if isinstance(first, dict) else first or ""
            try:
                made = sha and await self.create(
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
            self._set(project, pipeline, job, "failed")
            return self.advance(project, pipeline)
        job.downstream_id = made.id
        if trigger.get("strategy") in ("depend", "mirror"):
            await self._finished(made)
        failed = trigger.get("strategy") and made.status != "success"
        self._set(project, pipeline, job, "failed" if failed else "success")
        self.advance(project, pipeline)

    async def _finished(self, pipeline: Pipeline) -> None:
        if pipeline.status not in DONE:
            await self._ends.setdefault(pipeline.id, asyncio.Event()).wait()

    def _set(self, project: Project, pipeline: Pipeline, job: Job, status: str) -> None:
        job.status = status
        now = self.forge.state.now()
        if status == "running":
            job.started_at = now
            pipeline.started_at = pipeline.started_at or now
        elif status in ("success", "failed", "canceled"):
            job.finished_at = now
        environments.job_moved(self.forge, project, pipeline, job)
        payload = payloads.job(self.forge, project, pipeline, job)
        self.forge.webhooks.fire(project, "job_events", payload)
        self.forge.state.publish("job", project, job.id)

    def _settle(self, project: Project, pipeline: Pipeline) -> None:
        status = status_of(pipeline)
        if status == pipeline.status:
            return
        pipeline.status = status
        pipeline.updated_at = self.forge.state.now()
        finished = status in DONE
        pipeline.finished_at = pipeline.updated_at if finished else None
        self._announce(project, pipeline)
        if finished and pipeline.id in self._ends:
            self._ends.pop(pipeline.id).set()
        if finished and self.on_finished:
            self._spawn(self.on_finished(project, pipeline))

    def _announce(self, project: Project, pipeline: Pipeline) -> None:
        payload = payloads.pipeline(self.forge, project, pipeline)
        self.forge.webhooks.fire(project, "pipeline_events", payload)
        self.forge.state.publish("pipeline", project, pipeline.id)

    # --- what people do to it

    def play(self, project: Project, pipeline: Pipeline, job: Job, user: User) -> None:
        job.user_id = user.id
        self.enqueue(project, pipeline, job)
        for later in current(pipeline):
            if later.status == "skipped":
                later.status = "created"
        self.advance(project, pipeline)

    def retry_job(self, project: Project, pipeline: Pipeline, job: Job, user: User) -> Job:
        again = self._job(pipeline, job.spec, user)
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
            task.cancel()
        elif job.status in (*ACTIVE, "manual"):
            self._set(project, pipeline, job, "canceled")
            self.advance(project, pipeline)

    def cancel(self, project: Project, pipeline: Pipeline) -> None:
        for job in current(pipeline):
            if job.status in ACTIVE and job.id not in self._running:
                self._set(project, pipeline, job, "canceled")
        for job in current(pipeline):
            if job.id in self._running:
                self._running[job.id].cancel()
        self._settle(project, pipeline)

    async def cancel_all(self, project: Project) -> None:
        for pipeline in project.pipelines.values():
            self.cancel(project, pipeline)
        ids = [job.id for line in project.pipelines.values() for job in line.jobs]
        tasks = [self._running[id] for id in ids if id in self._running]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        self._closed = True
        while self._tasks:
            tasks = tuple(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def current(pipeline: Pipeline) -> list[Job]:
    return [job for job in pipeline.jobs if not job.retried]


def _good(job: Job) -> bool:
    optional = job.status in ("failed", "manual", "canceled") and job.allow_failure
    return job.status == "success" or optional


def _readiness(pipeline: Pipeline, job: Job) -> str:
    """`wait`, `good` or `bad`: what has to come first is under way, well or not."""
    if job.spec.needs is not None:
        names = {need.job for need in job.spec.needs}
        first = [each for each in current(pipeline) if each.name in names]
        skipped_is_good = False
    else:
        place = pipeline.stages.index(job.stage)
        before = set(pipeline.stages[:place])
        first = [each for each in current(pipeline) if each.stage in before]
        skipped_is_good = True
    if any(each.status not in DONE and not _good(each) for each in first):
        return "wait"
    good = all(_good(each) or (skipped_is_good and each.status == "skipped") for each in first)
    return "good" if good else "bad"


def _sources(pipeline: Pipeline, job: Job) -> list[Job]:
    """The jobs whose artifacts this one is given."""
    spec: JobSpec = job.spec
    jobs = [each for each in current(pipeline) if each.status in ("success", "failed")]
    if spec.needs is not None:
        names = {need.job for need in spec.needs if need.artifacts}
        return [each for each in jobs if each.name in names]
    before = set(pipeline.stages[: pipeline.stages.index(job.stage)])
    jobs = [each for each in jobs if each.stage in before]
    if spec.dependencies is not None:
        jobs = [
            each
            for each in jobs
            if each.name in spec.dependencies or ci_config.base_name(each.name) in spec.dependencies
        ]
    return jobs


def _coverage(job: Job) -> float | None:
    if not job.spec.coverage:
        return None
    found = re.findall(job.spec.coverage.strip("/"), job.trace.decode("utf-8", "replace"))
    numbers = re.findall(r"[\d.]+", str(found[-1])) if found else []
    return float(numbers[0]) if numbers else None


def status_of(pipeline: Pipeline) -> str:
    jobs = current(pipeline)
    if not jobs:
        return pipeline.status
    statuses = [job.status for job in jobs if not (job.status == "manual" and job.allow_failure)]
    counted = [job.status for job in jobs if not job.allow_failure]
    if any(status == "running" for status in statuses):
        return "running"
    if any(status in ("pending", "scheduled") for status in statuses):
        started = any(status in ("success", "failed") for status in statuses)
        return "running" if started else "pending"
    if "manual" in counted:
        return "manual"
    if "created" in statuses:
        return "running" if any(status in DONE for status in statuses) else "created"
    if "failed" in counted:
        return "failed"
    if "canceled" in counted:
        return "canceled"
    if statuses and all(status == "skipped" for status in statuses):
        return "skipped"
    return "success" if statuses else "skipped" if not pipeline.started_at else "success"
