"""Projects: made, changed, forked, starred, deleted."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from playground.gitlab import project_seed, views
from playground.gitlab.commit_actions import add_readme
from playground.gitlab.http import ApiError, Call, Many, Reply, Routes, json_response, not_found
from playground.gitlab.records import (
    GUEST,
    HIDDEN_SETTINGS,
    MAINTAINER,
    OWNER,
    PROJECT_SETTINGS,
    REPORTER,
    Project,
)

routes = Routes()
FLAGS = {
    name for name, value in (PROJECT_SETTINGS | HIDDEN_SETTINGS).items() if isinstance(value, bool)
}
NUMBERS = {"ci_default_git_depth", "build_timeout", "approvals_before_merge"}
SETTINGS = {*PROJECT_SETTINGS, *HIDDEN_SETTINGS}


def _selected(call: Call) -> list[Project]:
    user = call.actor
    found = [p for p in call.state.projects.values() if call.state.visible(p, user)]
    if text := call.text("search").lower():
        found = [p for p in found if text in p.name.lower() or text in p.path.lower()]
    if call.flag("owned"):
        found = [
            p
            for p in found
            if p.namespace_id == call.user.namespace_id
            or (
                (m := call.state.inherited(p).get(call.user.id)) is not None
                and m.access_level >= OWNER
            )
        ]
    if call.flag("membership"):
        mine = (call.user.namespace_id, call.user.id)
        found = [
            p for p in found if p.namespace_id == mine[0] or mine[1] in call.state.inherited(p)
        ]
    if level := call.number("min_access_level"):
        found = [p for p in found if call.state.access(p, user) >= level]
    if call.flag("starred"):
        found = [p for p in found if call.user.id in p.stars]
    if visibility := call.text("visibility"):
        found = [p for p in found if p.visibility == visibility]
    if "archived" in call.params:
        found = [p for p in found if p.archived == call.flag("archived")]
    order = {"id": lambda p: p.id, "name": lambda p: p.name.lower(), "path": lambda p: p.path}
    key = order.get(call.text("order_by"), lambda p: (p.created_at, p.id))
    return sorted(found, key=key, reverse=call.text("sort", "desc") == "desc")


@routes.get("/projects")
async def listed(call: Call) -> Any:
    simple = call.flag("simple") or call.actor is None
    return Many(
        _selected(call),
        lambda p: (
            views.project_basic(call.forge, p)
            if simple
            else views.project(call.forge, p, call.actor)
        ),
    )


@routes.get("/projects/{id}")
async def one(call: Call) -> Any:
    return views.project_with_access(call.forge, call.project, call.actor)


@routes.post("/projects", anonymous=False)
async def create(call: Call) -> Any:
    name, path = call.text("name"), call.text("path")
    if not (name or path):
        raise ApiError(
            400, {"error": "name, path are missing, at least one parameter must be provided"}
        )
    path = path or re.sub(r"[^\w.-]+", "-", name).strip("-.").lower()
    number = call.number("namespace_id", call.user.namespace_id) or 0
    group = call.state.groups.get(number)
    if number != call.user.namespace_id and not call.user.admin:
        member = group and call.state.group_members(group).get(call.user.id)
        if not member or member.access_level < 30:
            raise ApiError(400, {"message": {"namespace": ["is not valid"]}})
    if any(
        p.namespace_id == number and p.path.lower() == path.lower()
        for p in call.state.projects.values()
    ):
        taken = ["has already been taken"]
        raise ApiError(
            400, {"message": {"project_namespace.name": taken, "name": taken, "path": taken}}
        )
    project = project_seed.new(call.forge, call.user, name or path, path, number, "private")
    project.default_branch = call.text("default_branch", "main")
    _update(call, project)
    await call.forge.create_repository(project)
    if call.flag("initialize_with_readme"):
        await add_readme(call, project, "Initial commit")
    return views.project(call.forge, project, call.actor)


def _update(call: Call, project: Project) -> None:
    project.name = call.text("name", project.name)
    if "description" in call.params:
        project.description = call.params["description"]
    visibility = call.text("visibility", project.visibility)
    if visibility not in ("private", "internal", "public"):
        raise ApiError(400, {"error": "visibility does not have a valid value"})
    project.visibility = visibility
    for name in SETTINGS & set(call.params):
        value: Any = call.params[name]
        if name in FLAGS:
            value = call.flag(name)
        elif name in NUMBERS:
            value = call.number(name)
        project.settings[name] = value
    if "topics" in call.params:
        project.settings["topics"] = call.items("topics")
    project.updated_at = call.state.now()


@routes.put("/projects/{id}", MAINTAINER)
async def edit(call: Call) -> Any:
    project = call.project
    if branch := call.text("default_branch"):
        if await call.forge.repository(project).branch(branch) is None:
            raise ApiError(
                400, {"message": {"base": ["Could not change HEAD: branch does not exist"]}}
            )
        project.default_branch = branch
        await call.forge.repository(project).git("symbolic-ref", "HEAD", f"refs/heads/{branch}")
    former = call.state.full_path(project).lower()
    project.path = call.text("path", project.path)
    project.former_paths = (project.former_paths | {former}) - {
        call.state.full_path(project).lower()
    }
    _update(call, project)
    return views.project(call.forge, project, call.actor)


@routes.delete("/projects/{id}", OWNER)
async def remove(call: Call) -> Any:
    await call.forge.remove_project(call.project)
    return json_response({"message": "202 Accepted"}, 202)


@routes.post("/projects/{id}/archive", OWNER)
async def archive(call: Call) -> Any:
    call.project.archived = True
    return views.project(call.forge, call.project, call.actor)


@routes.post("/projects/{id}/unarchive", OWNER)
async def unarchive(call: Call) -> Any:
    call.project.archived = False
    return views.project(call.forge, call.project, call.actor)


@routes.post("/projects/{id}/star", anonymous=False)
async def star(call: Call) -> Any:
    project = call.project
    if call.user.id in project.stars:
        return Reply(status=304)
    project.stars.add(call.user.id)
    return views.project(call.forge, project, call.actor)


@routes.post("/projects/{id}/unstar", anonymous=False)
async def unstar(call: Call) -> Any:
    project = call.project
    if call.user.id not in project.stars:
        return Reply(status=304)
    project.stars.discard(call.user.id)
    return views.project(call.forge, project, call.actor)


def namespace_asked(call: Call) -> int:
    """Of `namespace_id`, `namespace_path` or `namespace` (number or path)."""
    key = next(
        (call.text(n) for n in ("namespace_id", "namespace_path", "namespace") if call.text(n)), ""
    )
    if not key:
        return call.user.namespace_id
    group, person = call.state.group_by(key), call.state.user_by_name(key)
    if group:
        return group.id
    if person:
        return person.namespace_id
    if key.isdigit() and any(u.namespace_id == int(key) for u in call.state.users.values()):
        return int(key)
    raise not_found("Target Namespace")


@routes.post("/projects/{id}/fork", REPORTER)
async def fork(call: Call) -> Any:
    parent = call.project
    path = call.text("path", parent.path)
    number = namespace_asked(call)
    if any(p.namespace_id == number and p.path == path for p in call.state.projects.values()):
        raise ApiError(409, {"message": {"name": ["has already been taken"]}})
    name = call.text("name", parent.name)
    project = project_seed.new(call.forge, call.user, name, path, number, parent.visibility)
    project.forked_from = parent.id
    project.default_branch = parent.default_branch
    await call.forge.create_repository(project, call.forge.repository(parent).path)
    for branch in await call.forge.repository(project).refs("heads"):
        project.pushed_at[branch] = float("-inf")
    return views.project(call.forge, project, call.actor)


@routes.get("/projects/{id}/forks")
async def forks(call: Call) -> Any:
    project = call.project
    found = [p for p in call.state.projects.values() if p.forked_from == project.id]
    return [
        views.project(call.forge, p, call.actor) for p in found if call.state.visible(p, call.actor)
    ]


@routes.put("/projects/{id}/transfer", OWNER)
async def transfer(call: Call) -> Any:
    project = call.project
    project.namespace_id = namespace_asked(call)
    return views.project(call.forge, project, call.actor)


@routes.get("/projects/{id}/groups", GUEST)
async def groups(call: Call) -> Any:
    found = call.state.lineage(call.project.namespace_id)
    names = ("id", "name", "avatar_url", "web_url", "full_name", "full_path")
    return [{n: views.group(call.forge, g)[n] for n in names} for g in found]


@routes.get("/projects/{id}/users", GUEST)
async def people(call: Call) -> Any:
    found = call.state.inherited(call.project)
    return [views.user_by_id(call.forge, number) for number in found]


@routes.get("/projects/{id}/languages", REPORTER)
async def languages(call: Call) -> Any:
    repository = call.forge.repository(call.project)
    sha = await repository.branch(call.project.default_branch)
    names = {".py": "Python", ".js": "JavaScript", ".ts": "TypeScript", ".go": "Go", ".rb": "Ruby"}
    files = [e.path for e in await repository.tree(sha, recursive=True)] if sha else []
    found = [names[Path(f).suffix] for f in files if Path(f).suffix in names]
    return Reply({n: round(100 * found.count(n) / len(found), 2) for n in sorted(set(found))})


@routes.get("/projects/{id}/snapshot", admin=True)
async def snapshot(call: Call) -> Any:
    path = call.forge.repository(call.project).path
    with tempfile.TemporaryDirectory() as folder:
        packed = await asyncio.to_thread(shutil.make_archive, f"{folder}/s", "tar", str(path))
        return Reply(Path(packed).read_bytes(), content_type="application/x-tar")
