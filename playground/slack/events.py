"""What happens in the workspace, as the Events API tells it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from playground.slack.answers import file_json, message_json, view_json
from playground.slack.records import Message
from playground.slack.world import World

Json = dict[str, Any]


def envelope(world: World, event: Json) -> Json:
    """The event as a delivery of its own, with its own id."""
    return {
        "token": "playground-verification-token",
        "team_id": world.team_id,
        "api_app_id": world.app.id,
        "event": event,
        "type": "event_callback",
        "event_id": world.new_id("Ev"),
        "event_time": int(world.clock()),
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": world.team_id,
                "user_id": world.app.bot_user,
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": False,
        "event_context": "4-playground",
    }


def subscription(world: World, event: Json) -> str:
    """The name in the manifest under which the app asks for this event."""
    if event["type"] != "message":
        return str(event["type"])
    return {"channel": "message.channels", "group": "message.groups", "im": "message.im"}[
        event["channel_type"]
    ]


def reaches_app(world: World, event: Json) -> bool:
    """Whether the app asked for such events, and is where this one happens."""
    place = event.get("channel") or event.get("item", {}).get("channel")
    there = place is None or world.app.bot_user in world.channels[place].members
    return there and subscription(world, event) in world.app.events


def message_events(world: World, message: Message) -> list[Json]:
    """A new message; a mention of the app tells it a second time, under another id."""
    told = [_posted(world, message)]
    if _mentions(world, message) and world.channels[message.channel].kind != "im":
        told.append(_mention(world, message))
    return told


def changed_events(world: World, before: Message, after: Message) -> list[Json]:
    shown = (message_json(world, replace(each, files=())) for each in (after, before))
    message, previous = (_as_nested(each) for each in shown)
    event: Json = {
        "type": "message",
        "subtype": "message_changed",
        "message": message,
        "previous_message": previous,
        "hidden": True,
        **_where(world, after, world.new_ts()),
    }
    newly = _mentions(world, after) and not _mentions(world, before)
    if newly and world.channels[after.channel].kind != "im":
        return [event, _mention(world, after)]
    return [event]


def deleted_event(world: World, message: Message) -> Json:
    return {
        "type": "message",
        "subtype": "message_deleted",
        "previous_message": _as_nested(message_json(world, replace(message, files=()))),
        "hidden": True,
        "deleted_ts": message.ts,
        **_where(world, message, world.new_ts()),
    }


def reaction_event(world: World, message: Message, name: str, user: str, kind: str) -> Json:
    return {
        "type": kind,
        "user": user,
        "reaction": name,
        "item": {"type": "message", "channel": message.channel, "ts": message.ts},
        "item_user": message.user,
        "event_ts": world.new_ts(),
    }


def home_event(world: World, user: str, tab: str) -> Json:
    event: Json = {
        "type": "app_home_opened",
        "user": user,
        "channel": world.direct_message(user).id,
        "tab": tab,
        "event_ts": world.new_ts(),
    }
    if tab == "home" and user in world.homes:
        event["view"] = view_json(world, world.views[world.homes[user]])
    return event


def stopped_event(world: World, channel: str, thread_ts: str, user: str) -> Json:
    return {
        "type": "agent_session_stopped",
        "channel": channel,
        "user": user,
        "thread_ts": thread_ts,
        "streaming_message_ts": [],
        "event_ts": world.new_ts(),
    }


def _mentions(world: World, message: Message) -> bool:
    own = message.bot_id == world.app.bot_id
    return not own and f"<@{world.app.bot_user}>" in message.text


def _posted(world: World, message: Message) -> Json:
    shown = _as_nested(message_json(world, replace(message, files=()), thread=[]))
    if message.files:
        shown["files"] = [_shared_file(world, id, message.channel) for id in message.files]
        shown["subtype"] = "file_share"
        shown["upload"] = False
        for key in ("team", "client_msg_id", "bot_id", "bot_profile", "edited"):
            shown.pop(key, None)
    shown.pop("reactions", None)
    return shown | _where(world, message, message.ts)


def _shared_file(world: World, id: str, channel: str) -> Json:
    shown = file_json(world, world.files[id])
    for key in ("timestamp", "user_team", "file_access", "alt_txt"):
        shown.pop(key, None)
    return shown | {"channels": [channel], "groups": []}


def _mention(world: World, message: Message) -> Json:
    event = _posted(world, replace(message, files=())) | {"type": "app_mention"}
    if message.edited_ts:
        event["event_ts"] = world.new_ts()
    return {k: each for k, each in event.items() if k not in ("channel_type", "parent_user_id")}


def _as_nested(shown: Json) -> Json:
    """Events leave out what only a reading of the thread brings."""
    read_only = ("app_id", "reply_users", "reply_count", "reply_users_count", "latest_reply")
    return {k: v for k, v in shown.items() if k not in (*read_only, "is_locked", "subscribed")}


def _where(world: World, message: Message, event_ts: str) -> Json:
    kind = world.channels[message.channel].kind
    told: Json = {"channel": message.channel, "channel_type": kind, "event_ts": event_ts}
    return told if event_ts == message.ts else {**told, "ts": event_ts}
