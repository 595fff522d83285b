from __future__ import annotations

from typing import Any

from playground.slack.answers import user_json
from playground.slack.methods.call import ApiError, Call, Method
from playground.slack.records import User

Json = dict[str, Any]


async def _auth_test(call: Call) -> Json:
    world, app = call.world, call.world.app
    if call.token.kind == "app":
        return {"app_name": app.name, "app_id": app.id}
    answer: Json = {
        "url": f"https://{world.team_domain}.slack.com/",
        "team": world.team_name,
        "user": world.users[call.token.user].name,
        "team_id": world.team_id,
        "user_id": call.token.user,
        "is_enterprise_install": False,
    }
    return answer | ({"bot_id": app.bot_id} if call.token.kind == "bot" else {})


async def _info(call: Call) -> Json:
    user = call.world.users.get(call.needed("user"))
    if user is None:
        raise ApiError("user_not_found")
    return {"user": _shown(call, user)}


async def _list(call: Call) -> Json:
    users = list(call.world.users.values())
    page, metadata = call.page(users, default=1000, most=1000)
    shown = [_shown(call, each) for each in page]
    return {"members": shown, "cache_ts": int(call.world.clock()), "response_metadata": metadata}


def _shown(call: Call, user: User) -> Json:
    return user_json(call.world, user, with_email="users:read.email" in call.token.scopes)


async def _usergroups(call: Call) -> Json:
    return {"usergroups": []}


async def _bot(call: Call) -> Json:
    app = call.world.app
    if call.text("bot") != app.bot_id:
        raise ApiError("bot_not_found")
    bot: Json = {
        "id": app.bot_id,
        "deleted": False,
        "name": app.name,
        "updated": 1_700_000_000,
        "app_id": app.id,
        "user_id": app.bot_user,
        "icons": {},
    }
    return {"bot": bot}


async def _team(call: Call) -> Json:
    world = call.world
    team = {"id": world.team_id, "name": world.team_name, "domain": world.team_domain}
    url = f"https://{world.team_domain}.slack.com/"
    return {"team": {**team, "url": url, "email_domain": "", "icon": {"image_default": True}}}


async def _open_connection(call: Call) -> Json:
    ticket = call.workspace.delivery.sockets.open_ticket()
    url = call.workspace.base_url.replace("http", "ws", 1)
    return {"url": f"{url}/link/?ticket={ticket}&app_id={call.world.app.id}"}


_READ = ("users:read",)
METHODS = (
    Method(name="auth.test", answer=_auth_test, tokens=("bot", "user", "app"), per_minute=0),
    Method(
        name="apps.connections.open",
        answer=_open_connection,
        scopes=("connections:write",),
        tokens=("app",),
        per_minute=50,
    ),
    Method(name="users.info", answer=_info, scopes=_READ, per_minute=100),
    Method(name="users.list", answer=_list, scopes=_READ, per_minute=20),
    Method(name="bots.info", answer=_bot, scopes=_READ, per_minute=50),
    Method(name="usergroups.list", answer=_usergroups, scopes=("usergroups:read",), per_minute=20),
    Method(name="team.info", answer=_team, scopes=("team:read",), per_minute=50),
)
