"""Pipelines over the API."""

from __future__ import annotations

from typing import Any

from playground.gitlab import artifacts, ci_config
from playground.gitlab.ci_config import ConfigError
from playground.gitlab.ci_records import Pipeline
from playground.gitlab.ci_yaml import merged_yaml
from playground.gitlab.http import ApiError, Call, Many, Reply, Routes, not_found
from playground.gitlab.pipeline_views import pipeline_basic, pipeline_full, pipeline_with_name
from playground.gitlab.records import DEVELOPER, OWNER, REPORTER, Project, User
from playground.gitlab.views import when

routes = Routes()
LIST = "/projects/{id}/pipelines"
BASE = LIST + "/{pipeline_id}"
SCOPES = {
    "running": ("running",),
    "pending": ("created", "waiting_for_resource", "preparing", "pending"),
    "finished": ("success", "failed", "canceled", "skipped"),
}


def pipeline_of(call: Call) -> Pipeline:
    found = call.project.pipelines.get(call.segment("pipeline_id"))
    if found is None:
        raise not_found()
    return found


@routes.get(LIST, REPORTER)
async def listed(call: Call) -> Any:
    project = call.project
    found = list(project.pipelines.values())
    for name in ("status", "ref", "sha", "source", "name"):
        if call.text(name):
            found = [p for p in found if getattr(p, name) == call.text(name)]
    if scope := SCOPES.get(call.text("scope")):
        found = [p for p in found if p.status in scope]
    if name := call.text("username"):
        person = call.state.user_by_name(name)
        found = [p for p in found if person and p.user_id == person.id]
    for name, later in (("updated_after", True), ("updated_before", False)):
        if call.text(name):
            found = [p for p in found if ((when(p.updated_at) or "") >= call.text(name)) == later]
    down = call.text("sort", "desc") == "desc"
    found.sort(key=lambda p: p.id, reverse=down)
    return Many(found, lambda p: pipeline_basic(call.forge, project, p))


def variables_of(call: Call) -> dict[str, str]:
    """A list of key and value, or a map, as the two ways to start a pipeline have it."""
    given = call.params.get("variables") or {}
    if isinstance(given, dict) and all(isinstance(v, str) for v in given.values()):
        return {str(k): v for k, v in given.items()}
    entries = given.values() if isinstance(given, dict) else given
    return {str(e["key"]): str(e.get("value", "")) for e in entries if isinstance(e, dict)}


async def _start(call: Call, project: Project, user: User, ref: str, source: str) -> Any:
    repository = call.forge.repository(project)
    tag = await repository.branch(ref) is None
    sha = await repository.resolve(ref)
    if sha is None:
        raise ApiError(400, {"message": {"base": ["Reference not found"]}})
    rules = call.state.protection(project, ref)
    if rules and not call.state.may_merge(project, user, ref):
        text = "You do not have sufficient permission to run a pipeline on '" + ref + "'."
        raise ApiError(400, {"message": {"base": [text]}})
    try:
        made = await call.forge.pipelines.create(
            project, user, ref, sha, source=source, tag=tag, variables=variables_of(call)
        )
    except ConfigError as problem:
        raise ApiError(400, {"message": {"base": [str(problem)]}}) from problem
    if made is None:
        text = "The rules configuration prevented any jobs from being added to the pipeline."
        if await repository.file(sha, ".gitlab-ci.yml") is None:
            text = "Missing CI config file"
        raise ApiError(400, {"message": {"base": [text]}})
    return pipeline_full(call.forge, project, made)


@routes.post("/projects/{id}/pipeline", DEVELOPER)
async def create(call: Call) -> Any:
    project = call.project
    call.need("ref")
    return await _start(call, project, call.user, call.text("ref"), "api")


@routes.post("/projects/{id}/trigger/pipeline", anonymous=True)
@routes.post("/projects/{id}/ref/{ref}/trigger/pipeline", anonymous=True)
async def trigger(call: Call) -> Any:
    """The trigger's token is all the right that it takes."""
    call.params.setdefault("ref", call.path.get("ref"))
    call.need("token", "ref")
    project = call.state.project_by(call.path["id"])
    found = [
        t
        for t in (project.triggers.values() if project else ())
        if t["token"] == call.text("token")
    ]
    if project is None or not found:
        raise not_found()
    found[0]["last_used"] = when(call.state.now())
    user = call.state.users[found[0]["owner"]["id"]]
    return await _start(call, project, user, call.text("ref"), "trigger")


@routes.get(LIST + "/latest", REPORTER)
async def latest(call: Call) -> Any:
    project = call.project
    ref = call.text("ref") or project.default_branch
    found = [p for p in project.pipelines.values() if p.ref == ref]
    if not found:
        raise ApiError(403, "403 Forbidden")
    return pipeline_with_name(call.forge, project, found[-1])


@routes.get(BASE, REPORTER)
async def one(call: Call) -> Any:
    return pipeline_with_name(call.forge, call.project, pipeline_of(call))


@routes.delete(BASE, OWNER)
async def remove(call: Call) -> Any:
    pipeline = pipeline_of(call)
    call.forge.pipelines.cancel(call.project, pipeline)
    del call.project.pipelines[pipeline.id]
    return Reply(status=204)


@routes.put(BASE + "/metadata", DEVELOPER)
async def metadata(call: Call) -> Any:
    pipeline = pipeline_of(call)
    pipeline.name = call.text("name")
    return pipeline_with_name(call.forge, call.project, pipeline)


@routes.get(BASE + "/variables", DEVELOPER)
async def variables(call: Call) -> Any:
    given = pipeline_of(call).variables
    return [
        {"variable_type": "env_var", "key": k, "value": v, "raw": False} for k, v in given.items()
    ]


@routes.post(BASE + "/retry", DEVELOPER)
async def retry(call: Call) -> Any:
    pipeline = pipeline_of(call)
    call.forge.pipelines.retry(call.project, pipeline, call.user)
    return pipeline_full(call.forge, call.project, pipeline)


@routes.post(BASE + "/cancel", DEVELOPER)
async def cancel(call: Call) -> Any:
    pipeline = pipeline_of(call)
    call.forge.pipelines.cancel(call.project, pipeline)
    return pipeline_full(call.forge, call.project, pipeline)


@routes.get(BASE + "/test_report", REPORTER)
async def test_report(call: Call) -> Any:
    return artifacts.test_report(pipeline_of(call))


@routes.get(BASE + "/test_report_summary", REPORTER)
async def test_report_summary(call: Call) -> Any:
    return artifacts.test_report_summary(pipeline_of(call))


# --- lint


async def _lint(call: Call, text: str, sha: str | None) -> dict[str, Any]:
    repository = call.forge.repository(call.project)

    async def read_file(path: str) -> str | None:
        found = await repository.file(sha, path) if sha else None
        return found[1].decode("utf-8", "replace") if found else None

    errors: list[str] = []
    merged = None
    try:
        await ci_config.read(text, read_file)
        merged = await merged_yaml(text, read_file)
    except ConfigError as problem:
        errors = [str(problem)]
    return {
        "valid": not errors,
        "errors": errors,
        "warnings": [],
        "merged_yaml": merged,
        "includes": [],
        "jobs": [],
    }


@routes.get("/projects/{id}/ci/lint", REPORTER)
async def lint_commit(call: Call) -> Any:
    project = call.project
    repository = call.forge.repository(project)
    asked = call.text("content_ref") or call.text("sha")
    sha = await repository.resolve(asked or project.default_branch)
    found = await repository.file(sha, ".gitlab-ci.yml") if sha else None
    if found is None:
        raise ApiError(404, "404 Not Found")
    return await _lint(call, found[1].decode("utf-8", "replace"), sha)


@routes.post("/projects/{id}/ci/lint", DEVELOPER)
async def lint(call: Call) -> Any:
    call.need("content")
    sha = await call.forge.repository(call.project).resolve(call.project.default_branch)
    return Reply(await _lint(call, call.text("content"), sha), 200)
