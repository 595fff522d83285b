"""Groups and their subgroups."""

from __future__ import annotations

from typing import Any

from playground.gitlab import views
from playground.gitlab.http import ApiError, Call, Reply, Routes
from playground.gitlab.records import MAINTAINER, OWNER, Group

routes = Routes()


def _detail(call: Call, group: Group) -> dict[str, Any]:
    shared = [
        {
            "group_id": other.id,
            "group_name": other.name,
            "group_full_path": call.state.namespace_path(other.id),
            "group_access_level": level,
            "expires_at": None,
        }
        for number, level in group.shared_with.items()
        if (other := call.state.groups.get(number))
    ]
    projects = [p for p in call.state.projects.values() if p.namespace_id == group.id]
    visible = [p for p in projects if call.state.visible(p, call.actor)]
    return views.group(call.forge, group) | {
        "shared_with_groups": shared,
        "projects": [views.project(call.forge, p, call.actor) for p in visible],
        "shared_projects": [],
    }


def _mine(call: Call, group: Group) -> bool:
    if group.visibility != "private" or (call.actor and call.actor.admin):
        return True
    return bool(call.actor and call.actor.id in call.state.group_members(group))


def _selected(call: Call, groups: list[Group]) -> list[dict[str, Any]]:
    skipped, wanted = set(call.numbers("skip_groups")), call.text("search").lower()
    found = [
        g
        for g in groups
        if _mine(call, g)
        and g.id not in skipped
        and (wanted in g.name.lower() or wanted in g.path.lower())
        and not (call.flag("top_level_only") and g.parent_id)
    ]
    if call.flag("owned"):
        levels = [(g, call.state.group_members(g).get(call.user.id)) for g in found]
        found = [g for g, member in levels if member and member.access_level >= OWNER]
    return [views.group(call.forge, g) for g in sorted(found, key=lambda g: g.name)]


@routes.get("/groups")
async def listed(call: Call) -> Any:
    return _selected(call, list(call.state.groups.values()))


@routes.post("/groups")
async def create(call: Call) -> Any:
    call.need("name", "path")
    parent = call.state.groups.get(call.number("parent_id", 0) or 0)
    group = Group(
        id=0,
        name=call.text("name"),
        path=call.text("path"),
        created_at=call.state.now(),
        parent_id=parent.id if parent else None,
        visibility=call.text("visibility", "private"),
        description=call.text("description"),
    )
    siblings = [g for g in call.state.groups.values() if g.parent_id == group.parent_id]
    if any(g.path.lower() == group.path.lower() for g in siblings):
        raise ApiError(400, 'Failed to save group {:path=>["has already been taken"]}')
    group.id = call.state.next_id("namespace")
    call.state.groups[group.id] = group
    call.state.add_member(group, call.user, OWNER)
    return _detail(call, group)


@routes.get("/groups/{id}")
async def one(call: Call) -> Any:
    return _detail(call, call.group)


@routes.put("/groups/{id}", OWNER)
async def update(call: Call) -> Any:
    group = call.group
    group.name = call.text("name", group.name)
    group.path = call.text("path", group.path)
    group.description = call.text("description", group.description)
    group.visibility = call.text("visibility", group.visibility)
    return _detail(call, group)


@routes.delete("/groups/{id}", OWNER)
async def remove(call: Call) -> Any:
    await _remove(call, call.group)
    return Reply({"message": "202 Accepted"}, 202)


async def _remove(call: Call, group: Group) -> None:
    for below in [g for g in call.state.groups.values() if g.parent_id == group.id]:
        await _remove(call, below)
    for project in [p for p in call.state.projects.values() if p.namespace_id == group.id]:
        await call.forge.remove_project(project)
    call.state.groups.pop(group.id, None)


@routes.get("/groups/{id}/subgroups")
async def subgroups(call: Call) -> Any:
    group = call.group
    return _selected(call, [g for g in call.state.groups.values() if g.parent_id == group.id])


@routes.get("/groups/{id}/descendant_groups")
async def descendants(call: Call) -> Any:
    group = call.group
    below = [g for g in call.state.groups.values() if group in call.state.lineage(g.parent_id)]
    return _selected(call, below)


@routes.get("/groups/{id}/projects")
async def projects(call: Call) -> Any:
    group = call.group
    below = call.flag("include_subgroups")
    return [
        views.project(call.forge, p, call.actor)
        for p in call.state.projects.values()
        if (p.namespace_id == group.id or (below and group in call.state.lineage(p.namespace_id)))
        and call.state.visible(p, call.actor)
    ]


@routes.post("/groups/{id}/share", MAINTAINER)
async def share(call: Call) -> Any:
    call.need("group_id", "group_access")
    group = call.group
    group.shared_with[call.number("group_id") or 0] = call.number("group_access") or 0
    return _detail(call, group)


@routes.delete("/groups/{id}/share/{group_id}", MAINTAINER)
async def unshare(call: Call) -> Any:
    call.group.shared_with.pop(call.segment("group_id"), None)
    return Reply(status=204)
