"""People and their keys."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from playground.gitlab import views
from playground.gitlab.http import ApiError, Call, Reply, Routes, json_response, not_found
from playground.gitlab.records import User
from playground.gitlab.views import when

routes = Routes()
PROFILE = ("bio", "location", "public_email", "linkedin", "twitter", "website_url", "organization")


def full(call: Call, person: User) -> dict[str, Any]:
    shown = views.user(call.forge, person) or {}
    profile = {name: person.profile.get(name, "") for name in PROFILE}
    shown |= profile | {
        "created_at": when(person.created_at),
        "bot": person.bot,
        "job_title": "",
        "followers": 0,
        "following": 0,
        "work_information": None,
        "local_time": None,
    }
    if call.actor and (call.actor.admin or call.actor is person):
        shown |= {
            "email": person.email,
            "commit_email": person.email,
            "confirmed_at": when(person.created_at),
            "last_sign_in_at": None,
            "last_activity_on": None,
            "theme_id": 1,
            "color_scheme_id": 1,
            "projects_limit": 100_000,
            "identities": person.profile.get("identities", []),
            "can_create_group": True,
            "can_create_project": True,
            "two_factor_enabled": False,
            "external": False,
            "private_profile": False,
        }
        if call.actor.admin:
            shown |= {"is_admin": person.admin, "note": None, "namespace_id": person.namespace_id}
    return shown


def _wanted(call: Call) -> User:
    person = call.state.users.get(int(call.path["id"])) if call.path["id"].isdigit() else None
    if person is None:
        raise not_found("User")
    return person


@routes.get("/user", scopes=["read_user"], anonymous=False)
async def current(call: Call) -> Any:
    shown = full(call, call.user)
    for name in ("is_admin", "note", "namespace_id"):
        shown.pop(name, None)
    return shown


@routes.get("/users", scopes=["read_user"])
async def listed(call: Call) -> Any:
    people = sorted(call.state.users.values(), key=lambda u: -u.id)
    if name := call.text("username"):
        people = [u for u in people if u.username.lower() == name.lower()]
    if text := call.text("search").lower():
        people = [
            u for u in people if text in (u.name + " " + u.username).lower() or text == u.email
        ]
    if "blocked" in call.params:
        people = [u for u in people if (u.state == "blocked") == call.flag("blocked")]
    if call.flag("active"):
        people = [u for u in people if u.state == "active"]
    admin = call.actor and call.actor.admin
    return [full(call, u) if admin else views.user(call.forge, u) for u in people]


@routes.get("/users/{id}", scopes=["read_user"])
async def one(call: Call) -> Any:
    return full(call, _wanted(call))


@routes.post("/users", admin=True)
async def create(call: Call) -> Any:
    call.need("email", "name", "username")
    taken = call.state.users.values()
    if any(call.text("email") == u.email for u in taken):
        raise ApiError(409, "Email has already been taken")
    if call.state.user_by_name(call.text("username")):
        raise ApiError(409, "Username has already been taken")
    person = call.state.add_user(
        call.text("username"),
        name=call.text("name"),
        email=call.text("email"),
        admin=call.flag("admin"),
    )
    _update(call, person)
    return full(call, person)


@routes.put("/users/{id}", admin=True)
async def update(call: Call) -> Any:
    person = _wanted(call)
    _update(call, person)
    return full(call, person)


def _update(call: Call, person: User) -> None:
    person.name = call.text("name", person.name)
    person.username = call.text("username", person.username)
    person.email = call.text("email", person.email)
    person.admin = call.flag("admin", person.admin)
    person.profile |= {name: call.text(name) for name in PROFILE if name in call.params}
    if call.text("provider"):
        identity = {
            "provider": call.text("provider"),
            "extern_uid": call.text("extern_uid"),
            "saml_provider_id": None,
        }
        person.profile.setdefault("identities", []).append(identity)


@routes.delete("/users/{id}", admin=True)
async def remove(call: Call) -> Any:
    person = _wanted(call)
    for project in [
        p for p in call.state.projects.values() if p.namespace_id == person.namespace_id
    ]:
        await call.forge.remove_project(project)
    for place in (*call.state.projects.values(), *call.state.groups.values()):
        place.members.pop(person.id, None)
    for token in call.state.tokens.values():
        token.revoked = token.revoked or token.user_id == person.id
    del call.state.users[person.id]
    return Reply(status=204)


CHANGES = {
    "block": ("active", "blocked"),
    "unblock": ("blocked", "active"),
    "ban": ("active", "banned"),
    "unban": ("banned", "active"),
    "deactivate": ("active", "deactivated"),
    "activate": ("deactivated", "active"),
}


@routes.post("/users/{id}/{change}", admin=True)
async def change_state(call: Call) -> Any:
    if call.path["change"] in ("keys",):
        return await add_key(call)
    before, after = CHANGES.get(call.path["change"]) or _no_such()
    person = _wanted(call)
    if person.state != before:
        # GitLab answers "nothing to do" to a second block with 201 and null, else with 403
        if call.path["change"] in ("block", "unblock"):
            return json_response({"block": None, "unblock": False}[call.path["change"]], 201)
        raise ApiError(403, f"403 Forbidden - A {person.state} user cannot be changed")
    person.state = after
    return Reply(True, 201)


def _no_such() -> tuple[str, str]:
    raise not_found()


@routes.get("/users/{id}/projects")
async def projects_of(call: Call) -> Any:
    person = _wanted(call)
    return [
        views.project_basic(call.forge, p)
        for p in call.state.projects.values()
        if p.namespace_id == person.namespace_id and call.state.visible(p, call.actor)
    ]


@routes.get("/users/{id}/memberships", admin=True)
async def memberships(call: Call) -> Any:
    person, kind = _wanted(call), call.text("type")
    if kind not in ("", "Project", "Namespace"):
        raise ApiError(400, {"error": "type does not have a valid value"})
    places = [("Project", p) for p in call.state.projects.values()]
    places += [("Namespace", g) for g in call.state.groups.values()]
    return [
        {
            "source_id": place.id,
            "source_name": place.name,
            "source_type": source,
            "access_level": place.members[person.id].access_level,
        }
        for source, place in places
        if person.id in place.members and kind in ("", source)
    ]


# --- SSH keys


def fingerprint(key: str) -> str:
    try:
        digest = hashlib.sha256(base64.b64decode(key.split()[1])).digest()
    except (IndexError, ValueError):
        raise ApiError(400, {"key": ["is invalid"]}) from None
    return "SHA256:" + base64.b64encode(digest).rstrip(b"=").decode()


def new_key(call: Call) -> dict[str, Any]:
    call.need("title", "key")
    return {
        "id": call.state.next_id("key"),
        "title": call.text("title"),
        "created_at": when(call.state.now()),
        "expires_at": call.params.get("expires_at"),
        "key": call.text("key"),
        "usage_type": "auth_and_signing",
    }


def _owner(call: Call) -> User:
    if "id" not in call.path:
        return call.user
    person = _wanted(call)
    if not (call.user.admin or call.user is person) and call.route.method != "GET":
        raise ApiError(403, "403 Forbidden")
    return person


@routes.get("/user/keys", scopes=["read_user"], anonymous=False)
@routes.get("/users/{id}/keys", scopes=["read_user"])
async def keys(call: Call) -> Any:
    return list(_owner(call).keys.values())


@routes.post("/user/keys")
async def add_key(call: Call) -> Any:
    key = new_key(call)
    fingerprint(key["key"])
    _owner(call).keys[key["id"]] = key
    return key


def _key(call: Call) -> tuple[User, dict[str, Any]]:
    person = _owner(call)
    found = person.keys.get(int(call.path["key"])) if call.path["key"].isdigit() else None
    if found is None:
        raise not_found("Key")
    return person, found


@routes.get("/user/keys/{key}", scopes=["read_user"], anonymous=False)
@routes.get("/users/{id}/keys/{key}", scopes=["read_user"])
async def key(call: Call) -> Any:
    return _key(call)[1]


@routes.delete("/user/keys/{key}")
@routes.delete("/users/{id}/keys/{key}")
async def remove_key(call: Call) -> Any:
    person, found = _key(call)
    del person.keys[found["id"]]
    return Reply(status=204)
