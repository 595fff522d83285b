"""Merge trains, simplified: one car after the other is merged once its pipeline is green."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from playground.gitlab import merging, views
from playground.gitlab.http import ApiError, Call, Reply, Routes, not_found
from playground.gitlab.merge_views import detailed_status, head_pipeline
from playground.gitlab.pipeline_order import ACTIVE
from playground.gitlab.pipeline_views import pipeline_basic
from playground.gitlab.records import DEVELOPER, MergeRequest, Project, TrainCar, User
from playground.gitlab.views import when

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge

routes = Routes()
LIST = "/projects/{id}/merge_trains"
WAITING = ("idle", "fresh", "merging")


def active(project: Project) -> bool:
    return bool(
        project.setting("merge_pipelines_enabled") and project.setting("merge_trains_enabled")
    )


async def board(
    forge: Forge, project: Project, mr: MergeRequest, user: User, wanted: dict[str, Any]
) -> TrainCar:
    """Raises `ApiError` as a merge does; the merge itself comes later."""
    merging.allowed(forge, project, user, mr, wanted["sha"])
    status = await detailed_status(forge, project, mr)
    if status == "conflict":
        raise ApiError(422, "Branch cannot be merged")
    if status not in ("mergeable", "ci_still_running"):
        raise ApiError(405, "405 Method Not Allowed")
    if wanted["sha"] and wanted["sha"] != mr.sha:
        raise ApiError(409, f"SHA does not match HEAD of source branch: {mr.sha}")
    now = forge.state.now()
    car = TrainCar(
        id=forge.state.next_id("train_car"),
        iid=mr.iid,
        user_id=user.id,
        target_branch=mr.target_branch,
        created_at=now,
        updated_at=now,
    )
    project.merge_train[mr.iid] = car
    mr.auto_merge, mr.auto_merge_by = wanted | {"sha": mr.sha}, user.id
    forge.pipelines.spawn(_ride(forge, project, mr, car))
    return car


async def _ride(forge: Forge, project: Project, mr: MergeRequest, car: TrainCar) -> None:
    began = forge.state.monotonic()
    while forge.state.younger(began, forge.state.lags.train):  # noqa: ASYNC110 (its own clock)
        await asyncio.sleep(0.02)
    car.status = "fresh"
    pipeline = head_pipeline(forge, project, mr)
    if mr.auto_merge is not None and not (pipeline and pipeline.status in ACTIVE):
        await merging.carry_out(forge, project, mr)


def _shown(call: Call, project: Project, car: TrainCar) -> dict[str, Any]:
    mr = project.merge_requests[car.iid]
    pipeline = head_pipeline(call.forge, project, mr)
    took = (car.merged_at - car.created_at).total_seconds() if car.merged_at else None
    return {
        "id": car.id,
        "merge_request": {
            "id": mr.id,
            "iid": mr.iid,
            "project_id": project.id,
            "title": mr.title,
            "description": mr.description,
            "state": mr.state,
            "created_at": when(mr.created_at),
            "updated_at": when(mr.updated_at),
            "web_url": f"{call.forge.web_url(project)}/-/merge_requests/{mr.iid}",
        },
        "user": views.user_by_id(call.forge, car.user_id),
        "pipeline": pipeline_basic(call.forge, project, pipeline) if pipeline else None,
        "created_at": when(car.created_at),
        "updated_at": when(car.updated_at),
        "target_branch": car.target_branch,
        "status": car.status,
        "merged_at": when(car.merged_at),
        "duration": round(took) if took is not None else None,
    }


def _cars(call: Call, branch: str = "") -> list[dict[str, Any]]:
    project, scope = call.project, call.text("scope")
    found = [c for c in project.merge_train.values() if branch in ("", c.target_branch)]
    if scope:
        found = [c for c in found if (c.status in WAITING) == (scope == "active")]
    return [_shown(call, project, car) for car in found]


@routes.get(LIST, DEVELOPER)
async def listed(call: Call) -> Any:
    return _cars(call)


@routes.get(LIST + "/merge_requests/{iid}", DEVELOPER)
async def one(call: Call) -> Any:
    car = call.project.merge_train.get(merging.merge_request_of(call).iid)
    if car is None:
        raise not_found()
    return _shown(call, call.project, car)


@routes.post(LIST + "/merge_requests/{iid}", DEVELOPER)
async def add(call: Call) -> Any:
    project, mr = call.project, merging.merge_request_of(call)
    if not active(project):
        raise ApiError(400, "Failed to merge")
    await board(call.forge, project, mr, call.user, merging.wanted(call))
    return Reply(_cars(call, mr.target_branch), 201)


@routes.get(LIST + "/{branch}", DEVELOPER)
async def of_branch(call: Call) -> Any:
    return _cars(call, call.path["branch"])
