"""Environments and deployments over the API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from playground.gitlab import environments, views
from playground.gitlab.ci_records import Deployment, Environment
from playground.gitlab.http import ApiError, Call, Many, Reply, Routes, not_found
from playground.gitlab.merge_views import basic
from playground.gitlab.pipeline_views import deployment, environment
from playground.gitlab.records import DEVELOPER, MAINTAINER, REPORTER, Project
from playground.gitlab.repository import commit_of

routes = Routes()
PLACES = "/projects/{id}/environments"
PLACE = PLACES + "/{environment_id}"
LIST = "/projects/{id}/deployments"
BASE = LIST + "/{deployment_id}"
ORDERS = ("id", "iid", "created_at", "updated_at", "finished_at", "ref")


def _place(call: Call) -> Environment:
    found = call.project.environments.get(call.segment("environment_id"))
    if found is None:
        raise not_found("Environment")
    return found


@routes.get(PLACES, REPORTER)
async def places(call: Call) -> Any:
    project = call.project
    found = list(project.environments.values())
    if call.text("name"):
        found = [e for e in found if e.name == call.text("name")]
    if call.text("search"):
        found = [e for e in found if call.text("search") in e.name]
    if call.text("states"):
        found = [e for e in found if e.state == call.text("states")]
    return Many(found, lambda e: environment(call.forge, project, e))


@routes.post(PLACES, DEVELOPER)
async def create_place(call: Call) -> Any:
    project = call.project
    call.need("name")
    if any(e.name == call.text("name") for e in project.environments.values()):
        raise ApiError(400, {"message": {"name": ["has already been taken"]}})
    url = call.text("external_url") or None
    place = environments.ensure(call.forge, project, call.text("name"), url)
    place.tier = call.text("tier", place.tier)
    place.description = call.text("description") or None
    return await environment(call.forge, project, place, last=True)


@routes.get(PLACE, REPORTER)
async def place(call: Call) -> Any:
    return await environment(call.forge, call.project, _place(call), last=True)


@routes.put(PLACE, DEVELOPER)
async def update_place(call: Call) -> Any:
    found = _place(call)
    found.external_url = call.text("external_url") or found.external_url
    found.tier = call.text("tier", found.tier)
    found.updated_at = call.state.now()
    return await environment(call.forge, call.project, found, last=True)


@routes.delete(PLACE, DEVELOPER)
async def remove_place(call: Call) -> Any:
    found = _place(call)
    if found.state != "stopped":
        raise ApiError(403, "403 Forbidden - Environment must be stopped first")
    del call.project.environments[found.id]
    return Reply(status=204)


@routes.post(PLACE + "/stop", DEVELOPER)
async def stop_place(call: Call) -> Any:
    found = _place(call)
    found.state = "stopped"
    return Reply(await environment(call.forge, call.project, found, last=True), 200)


# --- deployments


def _wanted(call: Call) -> Deployment:
    found = call.project.deployments.get(call.segment("deployment_id"))
    if found is None:
        raise not_found("Deployment")
    return found


async def _full(call: Call, project: Project, item: Deployment) -> dict[str, Any]:
    return await deployment(call.forge, project, item) | {
        "pending_approval_count": _pending(project, item),
        "approvals": item.approvals,
        "approval_summary": {"rules": []},
    }


def _pending(project: Project, item: Deployment) -> int:
    place = project.environments.get(item.environment_id)
    rule = project.protected_environments.get(place.name) if place else None
    given = sum(a["status"] == "approved" for a in item.approvals)
    return max((rule.required_approvals if rule else 0) - given, 0)


def _moment(call: Call, name: str) -> datetime | None:
    if not call.text(name):
        return None
    try:
        found = datetime.fromisoformat(call.text(name))
    except ValueError:
        raise ApiError(400, {"error": f"{name} is invalid"}) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _within(moment: datetime | None, limit: datetime, later: bool) -> bool:
    if moment is None:
        return False
    return moment >= limit if later else moment <= limit


@routes.get(LIST, REPORTER)
async def listed(call: Call) -> Any:
    project = call.project
    found = list(project.deployments.values())
    if name := call.text("environment"):
        numbers = {e.id for e in project.environments.values() if e.name == name}
        found = [d for d in found if d.environment_id in numbers]
    if call.text("status"):
        found = [d for d in found if d.status == call.text("status")]
    for name, later in (("after", True), ("before", False)):
        for field in ("updated", "finished"):
            if limit := _moment(call, f"{field}_{name}"):
                found = [d for d in found if _within(getattr(d, f"{field}_at"), limit, later)]
    order = call.text("order_by", "id")
    if order not in ORDERS:
        raise ApiError(400, {"error": "order_by does not have a valid value"})
    down = call.text("sort", "asc") == "desc"
    found.sort(key=lambda d: (getattr(d, order) or d.updated_at, d.id), reverse=down)
    return Many(found, lambda d: deployment(call.forge, project, d))


@routes.post(LIST, DEVELOPER)
async def create(call: Call) -> Any:
    project = call.project
    call.need("environment", "sha", "ref", "tag", "status")
    sha = await commit_of(call, call.text("sha"))
    name = call.text("environment")
    rule = project.protected_environments.get(name)
    if rule and not call.state.granted(rule.deploy, project, call.user):
        raise ApiError(403, "403 Forbidden")
    made = environments.deploy(
        call.forge,
        project,
        environments.ensure(call.forge, project, name),
        user=call.user,
        ref=call.text("ref"),
        sha=sha,
        tag=call.flag("tag"),
        status=call.text("status"),
    )
    return await _full(call, project, made)


@routes.get(BASE, REPORTER)
async def one(call: Call) -> Any:
    return await _full(call, call.project, _wanted(call))


@routes.put(BASE, DEVELOPER)
async def update(call: Call) -> Any:
    project, found = call.project, _wanted(call)
    call.need("status")
    if found.job_id is not None:
        raise ApiError(403, "403 Forbidden")
    environments.set_status(call.forge, project, found, call.text("status"))
    return await _full(call, project, found)


@routes.delete(BASE, MAINTAINER)
async def remove(call: Call) -> Any:
    del call.project.deployments[_wanted(call).id]
    return Reply(status=204)


@routes.get(BASE + "/merge_requests", REPORTER)
async def merge_requests(call: Call) -> Any:
    project, found = call.project, _wanted(call)
    return [
        await basic(call.forge, project, mr)
        for mr in project.merge_requests.values()
        if mr.merge_commit_sha == found.sha or mr.squash_commit_sha == found.sha
    ]


@routes.post(BASE + "/approval", DEVELOPER)
async def decide(call: Call) -> Any:
    """The one who triggered a deployment cannot approve it."""
    project, found = call.project, _wanted(call)
    call.need("status")
    place = project.environments.get(found.environment_id)
    rule = project.protected_environments.get(place.name) if place else None
    if rule is None or found.status != "blocked":
        raise ApiError(400, "This deployment is not waiting for approvals.")
    if not call.state.granted(rule.deploy, project, call.user):
        raise ApiError(403, "403 Forbidden")
    if found.user_id == call.user.id and call.text("status") == "approved":
        raise ApiError(400, "You cannot approve your own deployment.")
    approval = {
        "user": views.user(call.forge, call.user),
        "status": call.text("status"),
        "created_at": views.when(call.state.now()),
        "comment": call.text("comment"),
    }
    found.approvals.append(approval)
    if call.text("status") == "rejected":
        environments.set_status(call.forge, project, found, "failed")
    elif not _pending(project, found):
        environments.set_status(call.forge, project, found, "created")
    return approval
