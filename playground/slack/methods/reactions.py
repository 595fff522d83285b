from __future__ import annotations

import re
from typing import Any

from playground.slack.answers import message_json, permalink
from playground.slack.methods.call import ApiError, Call, Method
from playground.slack.records import Message

Json = dict[str, Any]
_NAME = re.compile(r"[a-z0-9_+'-]+(::skin-tone-[2-6])?")


async def _add(call: Call) -> Json:
    message, name = _target(call)
    if call.world.channels[message.channel].is_archived:
        raise ApiError("is_archived")
    if call.token.user in message.reactions.get(name, ()):
        raise ApiError("already_reacted")
    call.workspace.react(message, name, call.token.user)
    return {}


async def _remove(call: Call) -> Json:
    message, name = _target(call)
    if call.token.user not in message.reactions.get(name, ()):
        raise ApiError("no_reaction")
    call.workspace.unreact(message, name, call.token.user)
    return {}


async def _get(call: Call) -> Json:
    message = _message(call)
    shown = message_json(call.world, message) | {"permalink": permalink(call.world, message)}
    return {"type": "message", "channel": message.channel, "message": shown}


def _target(call: Call) -> tuple[Message, str]:
    name = call.needed("name").strip(":")
    if not _NAME.fullmatch(name):
        raise ApiError("invalid_name")
    return _message(call), name


def _message(call: Call) -> Message:
    channel = call.channel()
    if not call.text("timestamp"):
        raise ApiError("no_item_specified")
    return call.message(channel, "timestamp")


_WRITE = ("reactions:write",)
METHODS = (
    Method(name="reactions.add", answer=_add, scopes=_WRITE, per_minute=50),
    Method(name="reactions.remove", answer=_remove, scopes=_WRITE, per_minute=20),
    Method(name="reactions.get", answer=_get, scopes=("reactions:read",), per_minute=50),
)
