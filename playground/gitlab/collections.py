"""Labels, milestones, variables, triggers and deploy keys of a project (or group)."""

from __future__ import annotations

import secrets
from typing import Any

from playground.gitlab import views
from playground.gitlab.http import ApiError, Call, Reply, Routes, not_found
from playground.gitlab.records import (
    DEVELOPER,
    GUEST,
    MAINTAINER,
    REPORTER,
    Group,
    Label,
    Milestone,
    Project,
    Variable,
)
from playground.gitlab.users import fingerprint, new_key
from playground.gitlab.views import when

routes = Routes()


def place(call: Call) -> Project | Group:
    return call.project if call.route.name.startswith("/projects") else call.group


def _web(call: Call, where: Project | Group) -> str:
    if isinstance(where, Project):
        return call.forge.web_url(where)
    return f"{call.forge.url}/groups/{call.state.namespace_path(where.id)}"


# --- labels


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


# --- milestones


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


# --- variables


def _variable(call: Call) -> Variable:
    scope = (call.params.get("filter") or {}) if isinstance(call.params.get("filter"), dict) else {}
    wanted = scope.get("environment_scope")
    for variable in place(call).variables:
        if variable.key == call.path["key"] and wanted in (None, variable.environment_scope):
            return variable
    raise not_found("Variable")


def _fill_variable(call: Call, variable: Variable) -> None:
    variable.value = call.text("value", variable.value)
    variable.variable_type = call.text("variable_type", variable.variable_type)
    variable.environment_scope = call.text("environment_scope", variable.environment_scope)
    for name in ("protected", "masked", "raw"):
        setattr(variable, name, call.flag(name, getattr(variable, name)))
    if call.flag("masked_and_hidden"):
        variable.masked = variable.hidden = True
    if "description" in call.params:
        variable.description = call.params["description"]
    if variable.masked and (len(variable.value) < 8 or len(variable.value.split()) != 1):
        raise ApiError(400, {"message": {"value": ["is invalid"]}})


async def list_variables(call: Call) -> Any:
    return [views.variable(v) for v in place(call).variables]


async def create_variable(call: Call) -> Any:
    where = place(call)
    call.need("key")
    variable = Variable(key=call.text("key"), value="")
    _fill_variable(call, variable)
    taken = {(v.key, v.environment_scope) for v in where.variables}
    if (variable.key, variable.environment_scope) in taken:
        raise ApiError(400, {"message": {"key": [f"({variable.key}) has already been taken"]}})
    where.variables.append(variable)
    return views.variable(variable)


async def one_variable(call: Call) -> Any:
    return views.variable(_variable(call))


async def update_variable(call: Call) -> Any:
    variable = _variable(call)
    _fill_variable(call, variable)
    return views.variable(variable)


async def remove_variable(call: Call) -> Any:
    place(call).variables.remove(_variable(call))
    return Reply(status=204)


for _base in ("/projects/{id}", "/groups/{id}"):
    routes.get(f"{_base}/labels", GUEST)(list_labels)
    routes.post(f"{_base}/labels", REPORTER)(create_label)
    routes.put(f"{_base}/labels", REPORTER)(update_label)
    routes.delete(f"{_base}/labels", REPORTER)(remove_label)
    routes.get(f"{_base}/labels/{{name}}", GUEST)(one_label)
    routes.put(f"{_base}/labels/{{name}}", REPORTER)(update_label)
    routes.delete(f"{_base}/labels/{{name}}", REPORTER)(remove_label)
    routes.get(f"{_base}/milestones", GUEST)(list_milestones)
    routes.post(f"{_base}/milestones", REPORTER)(create_milestone)
    routes.get(f"{_base}/milestones/{{milestone_id}}", GUEST)(one_milestone)
    routes.put(f"{_base}/milestones/{{milestone_id}}", REPORTER)(update_milestone)
    routes.delete(f"{_base}/milestones/{{milestone_id}}", REPORTER)(remove_milestone)
    routes.get(f"{_base}/variables", MAINTAINER)(list_variables)
    routes.post(f"{_base}/variables", MAINTAINER)(create_variable)
    routes.get(f"{_base}/variables/{{key}}", MAINTAINER)(one_variable)
    routes.put(f"{_base}/variables/{{key}}", MAINTAINER)(update_variable)
    routes.delete(f"{_base}/variables/{{key}}", MAINTAINER)(remove_variable)


# --- triggers


def _trigger(call: Call) -> dict[str, Any]:
    found = call.project.triggers.get(call.segment("trigger_id"))
    if found is None:
        raise not_found("Trigger")
    return found


@routes.get("/projects/{id}/triggers", MAINTAINER)
async def triggers(call: Call) -> Any:
    return list(call.project.triggers.values())


@routes.post("/projects/{id}/triggers", MAINTAINER)
async def create_trigger(call: Call) -> Any:
    project = call.project
    call.need("description")
    now = when(call.state.now())
    trigger = {
        "id": call.state.next_id("trigger"),
        "token": f"glptt-{secrets.token_hex(20)}",
        "description": call.text("description"),
        "created_at": now,
        "updated_at": now,
        "last_used": None,
        "expires_at": None,
        "owner": views.user(call.forge, call.user),
    }
    project.triggers[trigger["id"]] = trigger
    return trigger


@routes.get("/projects/{id}/triggers/{trigger_id}", MAINTAINER)
async def trigger(call: Call) -> Any:
    return _trigger(call)


@routes.put("/projects/{id}/triggers/{trigger_id}", MAINTAINER)
async def update_trigger(call: Call) -> Any:
    found = _trigger(call)
    found["description"] = call.text("description", found["description"])
    return found


@routes.delete("/projects/{id}/triggers/{trigger_id}", MAINTAINER)
async def remove_trigger(call: Call) -> Any:
    del call.project.triggers[_trigger(call)["id"]]
    return Reply(status=204)


# --- deploy keys


@routes.get("/projects/{id}/deploy_keys", MAINTAINER)
async def deploy_keys(call: Call) -> Any:
    return list(call.project.deploy_keys.values())


@routes.post("/projects/{id}/deploy_keys", MAINTAINER)
async def add_deploy_key(call: Call) -> Any:
    project = call.project
    key = new_key(call)
    digest = fingerprint(key["key"])
    key |= {"fingerprint": None, "fingerprint_sha256": digest, "can_push": call.flag("can_push")}
    project.deploy_keys[key["id"]] = key
    return key


def _deploy_key(call: Call) -> dict[str, Any]:
    found = call.project.deploy_keys.get(call.segment("key_id"))
    if found is None:
        raise not_found("Deploy Key")
    return found


@routes.get("/projects/{id}/deploy_keys/{key_id}", MAINTAINER)
async def deploy_key(call: Call) -> Any:
    return _deploy_key(call)


@routes.delete("/projects/{id}/deploy_keys/{key_id}", MAINTAINER)
async def remove_deploy_key(call: Call) -> Any:
    del call.project.deploy_keys[_deploy_key(call)["id"]]
    return Reply(status=204)


@routes.post("/projects/{id}/deploy_keys/{key_id}/enable", MAINTAINER)
async def enable_deploy_key(call: Call) -> Any:
    number = call.segment("key_id")
    for other in call.state.projects.values():
        if number in other.deploy_keys and call.state.access(other, call.user) >= DEVELOPER:
            call.project.deploy_keys[number] = other.deploy_keys[number]
            return other.deploy_keys[number]
    raise not_found("Deploy Key")
