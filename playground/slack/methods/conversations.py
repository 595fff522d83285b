from __future__ import annotations

from typing import Any

from playground.slack.answers import channel_json, message_json
from playground.slack.methods.call import ApiError, Call, Method
from playground.slack.records import Channel, Message

Json = dict[str, Any]
_TYPES = {"public_channel": "channel", "private_channel": "group", "im": "im", "mpim": "mpim"}


async def _info(call: Call) -> Json:
    channel = call.channel()
    call.require_for(channel, "read")
    shown = channel_json(call.world, channel, call.token.user)
    if call.flag("include_num_members"):
        shown["num_members"] = len(channel.members)
    return {"channel": shown}


async def _list(call: Call) -> Json:
    types = [each.strip() for each in call.text("types", "public_channel").split(",")]
    if unknown := [each for each in types if each not in _TYPES]:
        raise ApiError("invalid_types", f"[ERROR] unknown types: {', '.join(unknown)}")
    kinds = {_TYPES[each] for each in types}
    user = call.token.user
    found = [
        each
        for each in call.world.channels.values()
        if each.kind in kinds
        and (each.kind == "channel" or user in each.members)
        and not (each.is_archived and call.flag("exclude_archived"))
    ]
    for each in found:
        call.require_for(each, "read")
    page, metadata = call.page(found, default=100, most=999)
    shown = [channel_json(call.world, each, user) for each in page]
    return {"channels": shown, "response_metadata": metadata}


async def _replies(call: Call) -> Json:
    channel = _readable(call)
    ts = call.needed("ts")
    found = call.world.thread(channel.id, ts, stale_seconds=call.stale_seconds)
    if not found:
        raise ApiError("thread_not_found")
    thread = [each for each in found if each.ts == ts or _within(call, each)]
    page, metadata = call.page(thread, default=1000, most=1000)
    answer: Json = {
        "messages": [_reply(call, each, found) for each in page],
        "has_more": bool(metadata["next_cursor"]),
    }
    return answer | ({"response_metadata": metadata} if answer["has_more"] else {})


async def _history(call: Call) -> Json:
    channel = _readable(call)
    if call.token.user not in channel.members:
        raise ApiError("not_in_channel")
    every = call.world.messages_of(channel.id, stale_seconds=call.stale_seconds)
    roots = [each for each in reversed(every) if not each.is_reply and _within(call, each)]
    page, metadata = call.page(roots, default=100, most=999)
    answer: Json = {
        "messages": [
            _shown(call, each, [one for one in every if one.thread_ts == each.ts]) for each in page
        ],
        "has_more": bool(metadata["next_cursor"]),
        "pin_count": 0,
    }
    return answer | ({"response_metadata": metadata} if answer["has_more"] else {})


async def _members(call: Call) -> Json:
    channel = call.channel()
    call.require_for(channel, "read")
    page, metadata = call.page(channel.members, default=100, most=1000)
    return {"members": page, "response_metadata": metadata}


async def _open(call: Call) -> Json:
    if call.text("channel"):
        channel = call.channel()
    else:
        users = [each for each in call.text("users").split(",") if each]
        if not users:
            raise ApiError("users_list_not_supplied")
        if len(users) > 1:
            raise ApiError("method_not_supported_for_channel_type")
        person = call.world.users.get(users[0])
        if person is None or person.deleted:
            raise ApiError("user_disabled" if person else "user_not_found")
        channel = call.world.direct_message(person.id)
    if call.flag("return_im"):
        return {"channel": channel_json(call.world, channel, call.token.user)}
    return {"channel": {"id": channel.id}}


def _readable(call: Call) -> Channel:
    channel = call.channel()
    call.require_for(channel, "history")
    return channel


def _within(call: Call, message: Message) -> bool:
    oldest, latest = call.text("oldest", "0"), call.text("latest")
    if call.flag("inclusive"):
        return message.ts >= oldest and (not latest or message.ts <= latest)
    return message.ts > oldest and (not latest or message.ts < latest)


def _reply(call: Call, message: Message, thread: list[Message]) -> Json:
    shown = _shown(call, message, thread)
    shown.pop("client_msg_id", None)
    return shown


def _shown(call: Call, message: Message, thread: list[Message]) -> Json:
    metadata = call.flag("include_all_metadata")
    return message_json(call.world, message, metadata=metadata, thread=thread)


METHODS = (
    Method(name="conversations.info", answer=_info, per_minute=50),
    Method(name="conversations.list", answer=_list, per_minute=20),
    Method(name="conversations.replies", answer=_replies, per_minute=50),
    Method(name="conversations.history", answer=_history, per_minute=50),
    Method(name="conversations.members", answer=_members, per_minute=100),
    Method(name="conversations.open", answer=_open, scopes=("im:write",), per_minute=50),
)
