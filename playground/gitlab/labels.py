"""Labels of projects and groups."""

from __future__ import annotations

from typing import Any

from playground.gitlab import views
from playground.gitlab.http import ApiError, Call, Reply, Routes, not_found
from playground.gitlab.records import (
    GUEST,
    REPORTER,
    Group,
    Label,
    Project,
)

routes = Routes()


def place(call: Call) -> Project | Group:
    return call.project if call.route.name.startswith("/projects") else call.group


def _labels(call: Call, where: Project | Group) -> list[Label]:
    found = list(where.labels.values())
    if isinstance(where, Project):
        above = call.state.lineage(where.namespace_id)
        found += [label for group in above for label in group.labels.values()]
    return sorted(found, key=lambda label: label.name.lower())


def _label(call: Call, where: Project | Group) -> Label:
    key = call.path.get("name") or call.text("name") or call.text("label_id")
    for label in _labels(call, where):
        if key in (label.name, str(label.id)):
            return label
    raise not_found("Label")


async def list_labels(call: Call) -> Any:
    wanted = call.text("search").lower()
    return [
        views.label(label, call.actor)
        for label in _labels(call, place(call))
        if wanted in label.name.lower()
    ]


async def create_label(call: Call) -> Any:
    where = place(call)
    call.need("name", "color")
    if any(label.name == call.text("name") for label in _labels(call, where)):
        raise ApiError(409, "Label already exists")
    label = Label(
        id=call.state.next_id("label"),
        name=call.text("name"),
        color=call.text("color"),
        description=call.params.get("description"),
        priority=call.number("priority"),
    )
    where.labels[label.id] = label
    return views.label(label, call.actor)


async def one_label(call: Call) -> Any:
    return views.label(_label(call, place(call)), call.actor)


async def update_label(call: Call) -> Any:
    label = _label(call, place(call))
    label.name = call.text("new_name", label.name)
    label.color = call.text("color", label.color)
    label.description = call.params.get("description", label.description)
    label.priority = call.number("priority", label.priority)
    return views.label(label, call.actor)


async def remove_label(call: Call) -> Any:
    where = place(call)
    where.labels.pop(_label(call, where).id, None)
    return Reply(status=204)


@routes.post("/projects/{id}/labels/{name}/subscribe", GUEST)
async def subscribe(call: Call) -> Any:
    label = _label(call, call.project)
    label.subscribers.add(call.user.id)
    return views.label(label, call.actor)


@routes.post("/projects/{id}/labels/{name}/unsubscribe", GUEST)
async def unsubscribe(call: Call) -> Any:
    label = _label(call, call.project)
    label.subscribers.discard(call.user.id)
    return views.label(label, call.actor)


@routes.put("/projects/{id}/labels/{name}/promote", REPORTER)
async def promote_label(call: Call) -> Any:
    project = call.project
    group = call.state.groups.get(project.namespace_id)
    if group is None:
        raise ApiError(400, "Cannot promote label")
    label = _label(call, project)
    project.labels.pop(label.id, None)
    group.labels[label.id] = label
    return views.label(label, call.actor)


for _base in ("/projects/{id}", "/groups/{id}"):
    routes.get(f"{_base}/labels", GUEST)(list_labels)
    routes.post(f"{_base}/labels", REPORTER)(create_label)
    routes.put(f"{_base}/labels", REPORTER)(update_label)
    routes.delete(f"{_base}/labels", REPORTER)(remove_label)
    routes.get(f"{_base}/labels/{{name}}", GUEST)(one_label)
    routes.put(f"{_base}/labels/{{name}}", REPORTER)(update_label)
    routes.delete(f"{_base}/labels/{{name}}", REPORTER)(remove_label)
