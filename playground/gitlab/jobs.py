"""Jobs over the API: their state, log and artifacts, and what people do to them."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING, Any

from playground.gitlab import environments
from playground.gitlab.ci_records import Artifact, Job, Pipeline
from playground.gitlab.http import ApiError, Call, Many, Reply, Routes, not_found
from playground.gitlab.pipeline_order import ACTIVE
from playground.gitlab.pipeline_views import job as shown
from playground.gitlab.pipeline_views import job_basic, pipeline_basic, trace
from playground.gitlab.records import DEVELOPER, REPORTER, Project, User

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge

routes = Routes()
BASE = "/projects/{id}/jobs/{job_id}"


def _wanted(call: Call) -> tuple[Project, Pipeline, Job]:
    project, number = call.project, call.segment("job_id")
    for line in project.pipelines.values():
        for job in line.jobs:
            if job.id == number and job.spec is not None:
                return project, line, job
    raise not_found()


async def _shown(call: Call, project: Project, line: Pipeline, job: Job) -> dict[str, Any]:
    commit = await call.forge.repository(project).commit(line.sha)
    return shown(call.forge, project, line, job, commit)


def _scoped(call: Call, jobs: list[Job]) -> list[Job]:
    wanted = set(call.items("scope"))
    return [job for job in jobs if not wanted or job.status in wanted]


@routes.get("/projects/{id}/pipelines/{pipeline_id}/jobs", REPORTER)
async def of_pipeline(call: Call) -> Any:
    project = call.project
    line = project.pipelines.get(call.segment("pipeline_id"))
    if line is None:
        raise not_found()
    found = [
        job
        for job in line.jobs
        if (call.flag("include_retried") or not job.retried)
        and job.spec is not None  # what other systems report is a status of the commit only
        and job.spec.trigger is None
    ]
    return Many(_scoped(call, found)[::-1], lambda job: _shown(call, project, line, job))


@routes.get("/projects/{id}/pipelines/{pipeline_id}/bridges", REPORTER)
async def bridges(call: Call) -> Any:
    project = call.project
    line = project.pipelines.get(call.segment("pipeline_id"))
    if line is None:
        raise not_found()
    found = _scoped(call, [job for job in line.jobs if job.spec and job.spec.trigger is not None])
    return [await _bridge(call, project, line, job) for job in found]


async def _bridge(call: Call, project: Project, line: Pipeline, job: Job) -> dict[str, Any]:
    commit = await call.forge.repository(project).commit(line.sha)
    body = job_basic(call.forge, project, line, job, commit)
    made = [
        (p, p.pipelines[job.downstream_id])
        for p in call.state.projects.values()
        if job.downstream_id in p.pipelines
    ]
    downstream = pipeline_basic(call.forge, *made[0]) if made else None
    return body | {"downstream_pipeline": downstream}


@routes.get("/projects/{id}/jobs", REPORTER)
async def listed(call: Call) -> Any:
    project = call.project
    found = [(line, job) for line in project.pipelines.values() for job in line.jobs if job.spec]
    chosen = set(map(id, _scoped(call, [job for _, job in found])))
    rows = [(line, job) for line, job in found if id(job) in chosen]
    if call.text("ref"):
        rows = [(line, job) for line, job in rows if job.ref == call.text("ref")]
    rows.sort(key=lambda row: -row[1].id)
    return Many(rows, lambda row: _shown(call, project, *row))


@routes.get(BASE, REPORTER)
async def one(call: Call) -> Any:
    return await _shown(call, *_wanted(call))


@routes.get(BASE + "/trace", REPORTER)
async def log(call: Call) -> Any:
    """The log, or a part of it by `Range`, also while the job still writes it."""
    data = trace(_wanted(call)[2])
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", call.request.headers.get("Range", ""))
    if found is None or found.group(0) == "bytes=-":
        return Reply(data, content_type="text/plain")
    if not found[1]:
        start, end = max(len(data) - int(found[2]), 0), len(data)
    else:
        start, end = int(found[1]), min(int(found[2]) + 1 if found[2] else len(data), len(data))
    if start >= len(data):
        return Reply(
            status=416, headers={"Content-Range": f"bytes */{len(data)}"}, content_type="text/plain"
        )
    headers = {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"}
    return Reply(data[start:end], 206, headers, "text/plain")


def unplayable(
    forge: Forge, project: Project, line: Pipeline, job: Job, user: User
) -> ApiError | None:
    """How GitLab refuses to let this user run the job."""
    deployment = environments.of_job(project, job)
    waits = deployment is not None and deployment.status == "blocked"
    if job.status not in ("manual", "scheduled") or waits:
        return ApiError(400, "400 Bad request - Unplayable Job")
    if not forge.state.may_merge(project, user, job.ref):
        return ApiError(403, "403 Forbidden")
    if environments.refused(forge, project, line, job, user):
        return ApiError(403, "403 Forbidden")
    return None


@routes.post(BASE + "/play", DEVELOPER)
async def play(call: Call) -> Any:
    project, line, job = _wanted(call)
    if (cannot := unplayable(call.forge, project, line, job, call.user)) is not None:
        raise cannot
    for entry in call.items("job_variables_attributes"):
        job.variables[str(entry["key"])] = str(entry.get("value", ""))
    call.forge.pipelines.play(project, line, job, call.user)
    commit = await call.forge.repository(project).commit(line.sha)
    return Reply(job_basic(call.forge, project, line, job, commit), 200)


@routes.post(BASE + "/retry", DEVELOPER)
async def retry(call: Call) -> Any:
    project, line, job = _wanted(call)
    if job.status not in ("success", "failed", "canceled") or job.retried or job.spec is None:
        raise ApiError(403, "403 Forbidden - Job is not retryable")
    if environments.refused(call.forge, project, line, job, call.user):
        raise ApiError(403, "403 Forbidden")
    again = call.forge.pipelines.retry_job(project, line, job, call.user)
    return await _shown(call, project, line, again)


@routes.post(BASE + "/cancel", DEVELOPER)
async def cancel(call: Call) -> Any:
    project, line, job = _wanted(call)
    if job.status in (*ACTIVE, "manual"):
        call.forge.pipelines.cancel_job(project, line, job)
    return await _shown(call, project, line, job)


@routes.post(BASE + "/erase", DEVELOPER)
async def erase(call: Call) -> Any:
    project, line, job = _wanted(call)
    if job.status in ACTIVE or job.erased_at:
        raise ApiError(403, "403 Forbidden - Job is not erasable!")
    job.erased_at = call.state.now()
    job.trace.clear()
    _drop(job)
    return await _shown(call, project, line, job)


# --- artifacts


def _drop(job: Job) -> None:
    for artifact in job.artifacts.values():
        artifact.file.unlink(missing_ok=True)
    job.artifacts.clear()


def _archive(job: Job) -> Artifact:
    found = job.artifacts.get("archive")
    if found is None:
        raise not_found()
    return found


def _download(job: Job) -> Reply:
    headers = {"Content-Disposition": 'attachment; filename="artifacts.zip"'}
    return Reply(_archive(job).file.read_bytes(), 200, headers, "application/zip")


def _member(job: Job, path: str) -> Reply:
    with zipfile.ZipFile(_archive(job).file) as packed:
        try:
            data = packed.read(path)
        except KeyError:
            raise not_found() from None
    return Reply(data, content_type="application/octet-stream")


def _newest(call: Call) -> Job:
    """Of the newest successful pipeline of a branch, the job that is asked for."""
    project = call.project
    call.need("job")
    for line in sorted(project.pipelines.values(), key=lambda p: -p.id):
        if line.ref == call.path["ref"] and line.status == "success":
            for job in line.jobs:
                if job.name == call.text("job") and "archive" in job.artifacts:
                    return job
    raise not_found()


@routes.get("/projects/{id}/jobs/artifacts/{ref}/download", REPORTER)
async def newest_archive(call: Call) -> Any:
    return _download(_newest(call))


@routes.get("/projects/{id}/jobs/artifacts/{ref}/raw/{path*}", REPORTER)
async def newest_file(call: Call) -> Any:
    return _member(_newest(call), call.path["path"])


@routes.get(BASE + "/artifacts", REPORTER)
async def archive(call: Call) -> Any:
    return _download(_wanted(call)[2])


@routes.get(BASE + "/artifacts/{path*}", REPORTER)
async def file(call: Call) -> Any:
    return _member(_wanted(call)[2], call.path["path"])


@routes.post(BASE + "/artifacts/keep", DEVELOPER)
async def keep(call: Call) -> Any:
    project, line, job = _wanted(call)
    _archive(job)
    return Reply(await _shown(call, project, line, job), 200)


@routes.delete(BASE + "/artifacts", DEVELOPER)
async def remove(call: Call) -> Any:
    _drop(_wanted(call)[2])
    return Reply(status=204)
