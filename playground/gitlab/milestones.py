"""Milestones of projects and groups, and what is planned for them."""

from __future__ import annotations

from typing import Any

from playground.gitlab import views
from playground.gitlab.http import ApiError, Call, Many, Reply, Routes, not_found
from playground.gitlab.issues import shown as shown_issue
from playground.gitlab.labels import place
from playground.gitlab.merge_views import basic
from playground.gitlab.records import (
    GUEST,
    REPORTER,
    Group,
    Milestone,
    Project,
)

routes = Routes()


def _web(call: Call, where: Project | Group) -> str:
    if isinstance(where, Project):
        return call.forge.web_url(where)
    return f"{call.forge.url}/groups/{call.state.namespace_path(where.id)}"


def _milestone(call: Call) -> Milestone:
    found = place(call).milestones.get(call.segment("milestone_id"))
    if found is None:
        raise not_found("Milestone")
    return found


def _fill_milestone(call: Call, milestone: Milestone) -> None:
    milestone.title = call.text("title", milestone.title)
    for name in ("description", "due_date", "start_date"):
        if name in call.params:
            value = call.params[name]
            setattr(milestone, name, value[:10] if value and name != "description" else value)
    changes = {"close": "closed", "activate": "active"}
    milestone.state = changes.get(call.text("state_event"), milestone.state)
    milestone.updated_at = call.state.now()


async def list_milestones(call: Call) -> Any:
    where = place(call)
    found = sorted(where.milestones.values(), key=lambda m: -m.id)
    state, title = call.text("state"), call.text("title")
    chosen = [m for m in found if state in ("", m.state) and title in ("", m.title)]
    return [views.milestone(call.forge, m, _web(call, where)) for m in chosen]


async def create_milestone(call: Call) -> Any:
    where = place(call)
    call.need("title")
    if any(m.title == call.text("title") for m in where.milestones.values()):
        raise ApiError(400, {"message": {"title": ["already being used for another milestone."]}})
    now = call.state.now()
    number = call.state.next_id("milestone")
    milestone = Milestone(
        id=number,
        iid=len(where.milestones) + 1,
        title=call.text("title"),
        created_at=now,
        updated_at=now,
        project_id=where.id if isinstance(where, Project) else None,
        group_id=where.id if isinstance(where, Group) else None,
    )
    _fill_milestone(call, milestone)
    where.milestones[number] = milestone
    return views.milestone(call.forge, milestone, _web(call, where))


async def one_milestone(call: Call) -> Any:
    return views.milestone(call.forge, _milestone(call), _web(call, place(call)))


async def update_milestone(call: Call) -> Any:
    milestone = _milestone(call)
    _fill_milestone(call, milestone)
    return views.milestone(call.forge, milestone, _web(call, place(call)))


async def remove_milestone(call: Call) -> Any:
    where = place(call)
    del where.milestones[_milestone(call).id]
    return Reply(status=204)


@routes.post("/projects/{id}/milestones/{milestone_id}/promote", REPORTER)
async def promote_milestone(call: Call) -> Any:
    project = call.project
    group = call.state.groups.get(project.namespace_id)
    milestone = _milestone(call)
    if group is None:
        raise ApiError(400, "Project does not belong to a group")
    del project.milestones[milestone.id]
    milestone.project_id, milestone.group_id = None, group.id
    group.milestones[milestone.id] = milestone
    return Reply(views.milestone(call.forge, milestone, _web(call, group)), 200)


def _holders(call: Call, kind: str) -> list[tuple[Project, Any]]:
    """The issues or merge requests of the milestone, with their projects."""
    milestone = _milestone(call)
    return [
        (project, item)
        for project in call.state.projects.values()
        for item in (project.issues if kind == "issues" else project.merge_requests).values()
        if item.milestone_id == milestone.id and call.state.visible(project, call.actor)
    ]


async def issues_of(call: Call) -> Any:
    return Many(_holders(call, "issues"), lambda row: shown_issue(call, *row))


async def merge_requests_of(call: Call) -> Any:
    return Many(_holders(call, "merge_requests"), lambda row: basic(call.forge, *row))


for _base in ("/projects/{id}", "/groups/{id}"):
    routes.get(f"{_base}/milestones", GUEST)(list_milestones)
    routes.post(f"{_base}/milestones", REPORTER)(create_milestone)
    routes.get(f"{_base}/milestones/{{milestone_id}}", GUEST)(one_milestone)
    routes.put(f"{_base}/milestones/{{milestone_id}}", REPORTER)(update_milestone)
    routes.delete(f"{_base}/milestones/{{milestone_id}}", REPORTER)(remove_milestone)
    routes.get(f"{_base}/milestones/{{milestone_id}}/issues", GUEST)(issues_of)
    routes.get(f"{_base}/milestones/{{milestone_id}}/merge_requests", GUEST)(merge_requests_of)
