"""Statuses of commits, those that other systems report among them."""

from __future__ import annotations

from typing import Any

from playground.gitlab import views
from playground.gitlab.ci_records import Job, Pipeline
from playground.gitlab.git_repo import GitError
from playground.gitlab.http import ApiError, Call, Many, Routes, not_found
from playground.gitlab.records import DEVELOPER, Project
from playground.gitlab.repository import CODE, commit_of
from playground.gitlab.views import when

routes = Routes()
BASE = "/projects/{id}/repository/commits"
STATES = ("pending", "running", "success", "failed", "canceled", "skipped")


def _status(call: Call, project: Project, line: Pipeline, job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "sha": line.sha,
        "ref": job.ref,
        "status": job.status,
        "name": job.name,
        "target_url": job.external.get("target_url"),
        "description": job.external.get("description"),
        "created_at": when(job.created_at),
        "started_at": when(job.started_at),
        "finished_at": when(job.finished_at),
        "allow_failure": job.allow_failure,
        "coverage": job.coverage,
        "pipeline_id": line.id,
        "author": views.user_by_id(call.forge, job.user_id),
    }


@routes.get(BASE + "/{sha}/statuses", **CODE)
async def statuses(call: Call) -> Any:
    project = call.project
    sha = await commit_of(call, call.path["sha"])
    found = [
        (line, job)
        for line in project.pipelines.values()
        if line.sha == sha
        for job in line.jobs
        if (call.flag("all") or not job.retried)
        and call.text("name", job.name) == job.name
        and call.text("stage", job.stage) == job.stage
        and call.text("ref", job.ref) == job.ref
    ]
    return Many(found, lambda row: _status(call, project, *row))


@routes.post("/projects/{id}/statuses/{sha}", DEVELOPER)
async def set_status(call: Call) -> Any:
    project = call.project
    call.need("state")
    state = call.text("state")
    if state not in STATES:
        raise ApiError(400, {"error": "state does not have a valid value"})
    sha = await commit_of(call, call.path["sha"])
    name = call.text("name") or call.text("context") or "default"
    ref = call.text("ref") or await _some_branch(call, project, sha)
    line = call.forge.pipelines.external(project, call.user, ref, sha, call.number("pipeline_id"))
    external = {n: call.params.get(n) for n in ("target_url", "description")}
    job = call.forge.pipelines.report(project, line, call.user, name, state, external)
    return _status(call, project, line, job)


async def _some_branch(call: Call, project: Project, sha: str) -> str:
    try:
        names = await call.forge.repository(project).text(
            "for-each-ref", f"--contains={sha}", "--format=%(refname:strip=2)", "refs/heads"
        )
    except GitError:
        names = ""
    found = names.splitlines()
    if not found:
        raise not_found("References for commit")
    return project.default_branch if project.default_branch in found else found[0]
