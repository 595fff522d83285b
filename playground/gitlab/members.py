"""Members of projects and groups; `/all` counts those of the groups above too."""

from __future__ import annotations

from typing import Any

from playground.gitlab import views
from playground.gitlab.http import ApiError, Call, Reply, Routes, not_found
from playground.gitlab.records import GUEST, MAINTAINER, OWNER, Group, Member, Project

routes = Routes()
LEVELS = (0, 5, 10, 15, 20, 25, 30, 40, 50)


def _place(call: Call) -> Project | Group:
    return call.project if call.route.name.startswith("/projects") else call.group


def _all(call: Call) -> dict[int, Member]:
    place = _place(call)
    if not isinstance(place, Project):
        return call.state.group_members(place)
    found = call.state.inherited(place)
    for person in call.state.users.values():
        if person.namespace_id == place.namespace_id:
            found[person.id] = Member(
                user_id=person.id, access_level=OWNER, created_at=place.created_at
            )
    return found


def _shown(call: Call, members: dict[int, Member]) -> list[dict[str, Any]]:
    wanted, text = set(call.numbers("user_ids")), call.text("query").lower()
    chosen = [m for m in members.values() if not wanted or m.user_id in wanted]
    shown = [views.member(call.forge, m) for m in chosen if m.user_id in call.state.users]
    return [m for m in shown if text in m["name"].lower() or text in m["username"].lower()]


for _kind in ("projects", "groups"):

    @routes.get(f"/{_kind}/{{id}}/members", GUEST)
    async def listed(call: Call) -> Any:
        return _shown(call, _place(call).members)

    @routes.get(f"/{_kind}/{{id}}/members/all", GUEST)
    async def listed_all(call: Call) -> Any:
        return _shown(call, _all(call))

    @routes.get(f"/{_kind}/{{id}}/members/all/{{user_id}}", GUEST)
    async def one_of_all(call: Call) -> Any:
        found = _all(call).get(call.segment("user_id"))
        if found is None:
            raise not_found()
        return views.member(call.forge, found)

    @routes.get(f"/{_kind}/{{id}}/members/{{user_id}}", GUEST)
    async def one(call: Call) -> Any:
        found = _place(call).members.get(call.segment("user_id"))
        if found is None:
            raise not_found()
        return views.member(call.forge, found)

    @routes.post(f"/{_kind}/{{id}}/members", MAINTAINER)
    async def add(call: Call) -> Any:
        place = _place(call)
        call.need("access_level")
        level = call.number("access_level")
        if level not in LEVELS:
            raise ApiError(400, {"error": "access_level does not have a valid value"})
        number = call.number("user_id", 0) or 0
        person = call.state.users.get(number) or call.state.user_by_name(call.text("username"))
        if person is None:
            raise not_found("User")
        if person.id in place.members:
            raise ApiError(409, "Member already exists")
        member = call.state.add_member(place, person, level, call.user.id)
        member.expires_at = call.text("expires_at") or None
        return views.member(call.forge, member)

    @routes.put(f"/{_kind}/{{id}}/members/{{user_id}}", MAINTAINER)
    async def update(call: Call) -> Any:
        found = _place(call).members.get(call.segment("user_id"))
        if found is None:
            raise not_found()
        found.access_level = call.number("access_level", found.access_level) or 0
        found.expires_at = call.text("expires_at") or found.expires_at
        return views.member(call.forge, found)

    @routes.delete(f"/{_kind}/{{id}}/members/{{user_id}}", MAINTAINER)
    async def remove(call: Call) -> Any:
        if _place(call).members.pop(call.segment("user_id"), None) is None:
            raise not_found()
        return Reply(status=204)
