"""Pipelines: made from the configuration of their commit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent.ports import Sandbox
from playground.gitlab import (
    ci_config,
    ci_variables,
    pipeline_plan,
)
from playground.gitlab.ci_config import Config, ConfigError, JobSpec
from playground.gitlab.ci_records import Job, Pipeline
from playground.gitlab.git_repo import ZERO
from playground.gitlab.pipeline_order import DONE, current
from playground.gitlab.pipeline_walk import PipelineWalk
from playground.gitlab.records import MergeRequest, Project, User
from playground.gitlab.runner import Image, Runner

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge

SKIP_CI = re.compile(r"\[(ci[ _-]?skip|skip[ _-]?ci)\]", re.IGNORECASE)


class Pipelines(PipelineWalk):
    """Every way in which a pipeline comes to be."""

    def __init__(self, forge: Forge, sandbox: Sandbox | None, image: Image | None) -> None:
        super().__init__(forge, Runner(forge, sandbox, image) if sandbox else None)
        self.start = self.create

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
        self.announce(project, pipeline)

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
            job = self.new_job(pipeline, spec, user)
            job.variables = {**shared, **spec.variables}
            pipeline.jobs.append(job)

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
            job = self.new_job(pipeline, spec, user)
            job.spec = None
            pipeline.jobs.append(job)
        job.external |= {key: value for key, value in external.items() if value is not None}
        self.set_status(project, pipeline, job, status)
        self.settle(project, pipeline)
        return job
