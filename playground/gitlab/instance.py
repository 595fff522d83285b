"""The instance itself: version, namespaces, events."""

from __future__ import annotations

from typing import Any

from playground.gitlab import views
from playground.gitlab.http import ApiError, Call, Routes, not_found

VERSION = "19.1.0"
routes = Routes()


@routes.get("/version", scopes=["read_user"], anonymous=False)
@routes.get("/metadata", scopes=["read_user"], anonymous=False)
async def metadata(call: Call) -> Any:
    return {
        "version": VERSION,
        "revision": "0a1b2c3d4e5",
        "kas": {"enabled": False, "externalUrl": None, "version": None},
        "enterprise": False,
    }


def _namespaces(call: Call) -> list[int]:
    state = call.state
    people = [u for u in state.users.values() if u is call.user or call.user.admin]
    groups = [
        g
        for g in state.groups.values()
        if call.user.admin or call.user.id in state.group_members(g)
    ]
    return [u.namespace_id for u in people] + [g.id for g in groups]


@routes.get("/namespaces", anonymous=False)
async def namespaces(call: Call) -> Any:
    wanted = call.text("search").lower()
    shown = [views.namespace(call.forge, n) for n in _namespaces(call)]
    return [n for n in shown if wanted in n["full_path"].lower() or wanted in n["name"].lower()]


@routes.get("/namespaces/{id}", anonymous=False)
async def namespace(call: Call) -> Any:
    for number in _namespaces(call):
        shown = views.namespace(call.forge, number)
        if call.path["id"] in (str(number), shown["full_path"]):
            return shown
    raise not_found("Namespace")


@routes.get("/namespaces/{id}/exists", anonymous=False)
async def namespace_exists(call: Call) -> Any:
    taken = [views.namespace(call.forge, n)["full_path"] for n in _namespaces(call)]
    return {"exists": call.path["id"] in taken, "suggests": []}


@routes.get("/search", anonymous=False)
async def search(call: Call) -> Any:
    call.need("scope", "search")
    wanted = call.text("search").lower()
    match call.text("scope"):
        case "users":
            people = call.state.users.values()
            return [
                views.user(call.forge, u)
                for u in people
                if wanted in u.name.lower() or wanted in u.username.lower()
            ]
        case "projects":
            return [
                views.project_basic(call.forge, p)
                for p in call.state.projects.values()
                if wanted in p.name.lower() and call.state.visible(p, call.actor)
            ]
        case _:
            raise ApiError(400, {"error": "scope does not have a valid value"})
