"""Personal and project access tokens."""

from __future__ import annotations

import secrets
from datetime import date, timedelta
from typing import Any

from playground.gitlab.http import ApiError, Call, Reply, Routes, not_found
from playground.gitlab.records import MAINTAINER, Project, Token, User
from playground.gitlab.views import when

routes = Routes()
SCOPES = {
    *("api", "read_api", "read_user", "read_repository", "write_repository", "read_registry"),
    *(
        "write_registry",
        "create_runner",
        "manage_runner",
        "ai_features",
        "k8s_proxy",
        "self_rotate",
    ),
    *("sudo", "admin_mode", "read_virtual_registry", "write_virtual_registry"),
}


def shown(call: Call, token: Token, *, secret: bool = False) -> dict[str, Any]:
    today = call.state.now().date()
    expired = token.expires_at is not None and token.expires_at <= today
    body: dict[str, Any] = {
        "id": token.id,
        "name": token.name,
        "revoked": token.revoked,
        "created_at": when(token.created_at),
        "description": None,
        "scopes": sorted(token.scopes),
        "user_id": token.user_id,
        "last_used_at": when(token.last_used_at),
        "active": not token.revoked and not expired,
        "expires_at": token.expires_at.isoformat() if token.expires_at else None,
    }
    if token.project_id is not None:
        body |= {
            "access_level": token.access_level,
            "resource_type": "project",
            "resource_id": token.project_id,
        }
    return body | ({"token": token.secret} if secret else {})


def _asked(call: Call) -> tuple[frozenset[str], date]:
    call.need("name", "scopes")
    scopes = frozenset(call.items("scopes"))
    if not scopes or scopes - SCOPES:
        raise ApiError(400, {"error": "scopes does not have a valid value"})
    latest = call.state.now().date() + timedelta(days=365)
    try:
        expires = date.fromisoformat(call.text("expires_at", latest.isoformat()))
    except ValueError:
        raise ApiError(400, {"error": "expires_at is invalid"}) from None
    if expires > latest:
        raise ApiError(400, {"expires_at": [f"must be before {latest.isoformat()}"]})
    return scopes, expires


# --- personal


def _of_request(call: Call) -> Token:
    request = call.request
    bearer = request.headers.get("Authorization", "").partition(" ")[2].strip()
    token = call.forge.auth.token_of(request.headers.get("PRIVATE-TOKEN") or bearer)
    if token is None:
        raise ApiError(400, {"message": "400 Bad request"})
    return token


@routes.get("/personal_access_tokens/self", scopes=["read_user", *SCOPES], anonymous=False)
async def own(call: Call) -> Any:
    token = shown(call, _of_request(call))
    for name in ("access_level", "resource_type", "resource_id"):
        token.pop(name, None)
    return token


@routes.delete("/personal_access_tokens/self", scopes=list(SCOPES))
async def revoke_own(call: Call) -> Any:
    _of_request(call).revoked = True
    return Reply(status=204)


@routes.get("/personal_access_tokens", anonymous=False)
async def listed(call: Call) -> Any:
    wanted = call.number("user_id", None if call.user.admin else call.user.id)
    if not call.user.admin and wanted != call.user.id:
        raise ApiError(401, "401 Unauthorized")
    tokens = [t for t in call.state.tokens.values() if t.project_id is None]
    return [shown(call, t) for t in tokens if wanted in (None, t.user_id)]


# --- of a project: each has a bot of its own


def bot_for(call: Call, project: Project, name: str, level: int) -> User:
    number = call.state.next_id("bot")
    suffix = f"{project.id}_bot_{number}"
    bot = call.state.add_user(f"project_{suffix}", name=name, bot=True)
    call.state.add_member(project, bot, level, call.user.id)
    return bot


@routes.get("/projects/{id}/access_tokens", MAINTAINER, anonymous=False)
async def of_project(call: Call) -> Any:
    project = call.project
    tokens = [t for t in call.state.tokens.values() if t.project_id == project.id]
    if "revoked" in call.params:
        tokens = [t for t in tokens if t.revoked == call.flag("revoked")]
    active = call.text("state")
    return [
        token
        for token in (shown(call, t) for t in tokens)
        if not active or token["active"] == (active == "active")
    ]


@routes.post("/projects/{id}/access_tokens", MAINTAINER)
async def create(call: Call) -> Any:
    project = call.project
    scopes, expires = _asked(call)
    level = call.number("access_level", 40) or 40
    if level > call.state.access(project, call.user):
        raise ApiError(400, "User does not have permission to create project access token")
    bot = bot_for(call, project, call.text("name"), level)
    token = call.state.add_token(
        bot,
        *scopes,
        name=call.text("name"),
        expires_at=expires,
        project=project,
        access_level=level,
    )
    return shown(call, token, secret=True)


def _wanted(call: Call) -> Token:
    project = call.project
    token = call.state.tokens.get(call.segment("token_id"))
    if token is None or token.project_id != project.id:
        raise not_found("Project Access Token")
    return token


@routes.get("/projects/{id}/access_tokens/{token_id}", MAINTAINER, anonymous=False)
async def one(call: Call) -> Any:
    return shown(call, _wanted(call))


@routes.delete("/projects/{id}/access_tokens/{token_id}", MAINTAINER)
async def revoke(call: Call) -> Any:
    _wanted(call).revoked = True
    return Reply(status=204)


@routes.post("/projects/{id}/access_tokens/{token_id}/rotate", MAINTAINER)
async def rotate(call: Call) -> Any:
    token = _wanted(call)
    token.revoked = True
    new = call.state.add_token(
        call.state.users[token.user_id],
        *token.scopes,
        name=token.name,
        secret=f"glpat-{secrets.token_urlsafe(15)}",
        expires_at=call.state.now().date() + timedelta(days=7),
        project=call.project,
        access_level=token.access_level,
    )
    return Reply(shown(call, new, secret=True), 200)
