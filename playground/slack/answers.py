"""The workspace's records in Slack's JSON."""

from __future__ import annotations

from typing import Any

from playground.slack.records import Channel, File, Message, Session, User, View
from playground.slack.world import World

Json = dict[str, Any]


def user_json(world: World, user: User, *, with_email: bool) -> Json:
    profile: Json = {
        "real_name": user.real_name,
        "real_name_normalized": user.real_name,
        "display_name": user.display_name or user.name,
        "display_name_normalized": user.display_name or user.name,
        "avatar_hash": "g0",
        "team": world.team_id,
    }
    if user.email and with_email:
        profile["email"] = user.email
    if user.is_bot:
        profile |= {"api_app_id": world.app.id, "bot_id": world.app.bot_id, "always_active": True}
    shown: Json = {
        "id": user.id,
        "team_id": world.team_id,
        "name": user.name,
        "deleted": user.deleted,
        "real_name": user.real_name,
        "tz": "Etc/UTC",
        "tz_label": "Coordinated Universal Time",
        "tz_offset": 0,
        "profile": profile,
        "is_bot": user.is_bot,
        "is_app_user": False,
        "updated": 1_700_000_000,
    }
    if not user.deleted:
        roles = ("is_owner", "is_primary_owner", "is_ultra_restricted")
        shown |= {"is_admin": user.is_admin, "is_restricted": user.is_restricted}
        shown |= dict.fromkeys(roles, False)
    if user.is_stranger:
        shown["is_stranger"] = True
    return shown


def channel_json(world: World, channel: Channel, user: str) -> Json:
    shown: Json = {
        "id": channel.id,
        "created": channel.created,
        "is_archived": channel.is_archived,
        "is_channel": channel.kind == "channel",
        "is_group": False,
        "is_im": channel.kind == "im",
        "is_mpim": False,
        "is_org_shared": False,
        "context_team_id": world.team_id,
    }
    if channel.kind == "im":
        return shown | {"user": channel.user, "is_open": True}
    told: Json = {"value": "", "creator": "", "last_set": 0}
    return shown | {
        "name": channel.name,
        "name_normalized": channel.name,
        "is_private": channel.kind == "group",
        "is_general": channel.name == "general",
        "is_member": user in channel.members,
        "is_shared": False,
        "is_ext_shared": False,
        "creator": channel.creator,
        "topic": told,
        "purpose": dict(told),
        "previous_names": [],
    }


def bot_profile(world: World) -> Json:
    return {
        "id": world.app.bot_id,
        "app_id": world.app.id,
        "name": world.app.name,
        "team_id": world.team_id,
        "icons": {},
        "updated": 1_700_000_000,
        "deleted": False,
    }


def message_json(
    world: World,
    message: Message,
    *,
    metadata: bool = False,
    thread: list[Message] | None = None,
) -> Json:
    """`thread` is the message's own thread when it was read already."""
    shown: Json = {
        "type": "message",
        "user": message.user,
        "text": message.text,
        "ts": message.ts,
        "team": world.team_id,
    }
    if message.client_msg_id:
        shown["client_msg_id"] = message.client_msg_id
    if message.bot_id:
        shown |= {"bot_id": message.bot_id, "app_id": message.app_id}
        shown["bot_profile"] = bot_profile(world)
    if message.blocks:
        shown["blocks"] = list(message.blocks)
    if message.attachments:
        shown["attachments"] = list(message.attachments)
    if message.files:
        shown["files"] = [file_json(world, world.files[id]) for id in message.files]
    if message.edited_ts:
        shown["edited"] = {"user": message.edited_by, "ts": message.edited_ts}
    if message.reactions:
        shown["reactions"] = reactions_json(message)
    if metadata and message.metadata is not None:
        shown["metadata"] = message.metadata
    return shown | _thread_json(world, message, thread)


def _thread_json(world: World, message: Message, thread: list[Message] | None) -> Json:
    if message.is_reply:
        root = world.messages.get((message.channel, message.thread_ts))
        parent = {"parent_user_id": root.user} if root is not None else {}
        return {"thread_ts": message.thread_ts, **parent}
    found = world.thread(message.channel, message.ts) if thread is None else thread
    replies = [each for each in found if each.is_reply]
    if not replies:
        return {}
    users = list(dict.fromkeys(each.user for each in replies))
    return {
        "thread_ts": message.ts,
        "reply_count": len(replies),
        "reply_users_count": len(users),
        "reply_users": users[:5],
        "latest_reply": replies[-1].ts,
        "is_locked": False,
        "subscribed": message.user == world.app.bot_user,
    }


def reactions_json(message: Message) -> list[Json]:
    return [
        {"name": name, "users": list(users), "count": len(users)}
        for name, users in message.reactions.items()
    ]


def file_json(world: World, file: File) -> Json:
    link = f"https://{world.team_domain}.slack.com/files/{file.user}/{file.id}/{file.name}"
    shares = [each for each in world.messages.values() if file.id in each.files]
    extension = file.name.rpartition(".")[2] if "." in file.name else "binary"
    shown: Json = {
        "id": file.id,
        "created": file.created,
        "timestamp": file.created,
        "name": file.name,
        "title": file.title,
        "mimetype": file.mimetype,
        "filetype": extension,
        "pretty_type": extension.upper(),
        "user": file.user,
        "user_team": world.team_id,
        "editable": False,
        "size": len(file.content),
        "mode": "hosted",
        "is_external": False,
        "external_type": "",
        "is_public": bool(shares),
        "public_url_shared": False,
        "display_as_bot": False,
        "username": "",
        "url_private": f"https://files.slack.com/files-pri/{world.team_id}-{file.id}/{file.name}",
        "permalink": link,
        "has_rich_preview": False,
        "file_access": "visible",
        "is_starred": False,
    }
    return shown | ({"alt_txt": file.alt_text} if file.alt_text else {})


def view_json(world: World, view: View) -> Json:
    """A view as the app gets it back: what it sent, and what Slack knows of it."""
    body = view.body
    shown: Json = {
        "id": view.id,
        "team_id": world.team_id,
        "type": body["type"],
        "blocks": body["blocks"],
        "private_metadata": body.get("private_metadata", ""),
        "callback_id": body.get("callback_id", ""),
        "external_id": body.get("external_id", ""),
        "state": {"values": dict(view.state)},
        "hash": view.hash,
        "title": body.get("title", {"type": "plain_text", "text": "View Title", "emoji": True}),
        "clear_on_close": body.get("clear_on_close", False),
        "notify_on_close": body.get("notify_on_close", False),
        "root_view_id": view.root,
        "app_id": world.app.id,
        "app_installed_team_id": world.team_id,
        "bot_id": world.app.bot_id,
    }
    if view.previous:
        shown["previous_view_id"] = view.previous
    return shown | {key: body[key] for key in ("close", "submit") if key in body}


def session_json(session: Session) -> Json:
    return {"status": session.status, "agent_status": session.status, "title": session.title}


def permalink(world: World, message: Message) -> str:
    link = f"https://{world.team_domain}.slack.com/archives/{message.channel}"
    link += f"/p{message.ts.replace('.', '')}"
    if message.is_reply:
        link += f"?thread_ts={message.thread_ts}&cid={message.channel}"
    return link
