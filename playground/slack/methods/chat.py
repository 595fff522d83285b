from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from playground.slack.answers import message_json, permalink
from playground.slack.blocks import MESSAGE_CHARACTERS, block_problems, characters, with_ids
from playground.slack.methods.call import ApiError, Call, Method
from playground.slack.records import Channel, Ephemeral, Message

Json = dict[str, Any]
METADATA_BYTES = 8_000
MARKDOWN_CHARACTERS, POSTED_CHARACTERS, UPDATED_CHARACTERS = 12_000, 40_000, 4_000


async def _post(call: Call) -> Json:
    channel = call.channel()
    _may_post(call, channel)
    text, blocks = content(call)
    message = Message(
        channel=channel.id,
        ts=call.world.new_ts(),
        user=call.token.user,
        text=text[:POSTED_CHARACTERS],
        blocks=blocks or (),
        attachments=_attachments(call),
        thread_ts=thread_of(call, channel),
        metadata=_metadata(call),
        bot_id=call.world.app.bot_id if call.token.kind == "bot" else "",
        app_id=call.world.app.id if call.token.kind == "bot" else "",
    )
    if not (message.text or message.blocks or message.attachments):
        raise ApiError("no_text")
    call.workspace.post(message)
    shown = message_json(call.world, message, metadata=True)
    return {"channel": channel.id, "ts": message.ts, "message": shown}


async def _update(call: Call) -> Json:
    channel = call.channel()
    before = call.message(channel, "ts")
    if before.user != call.token.user:
        raise ApiError("cant_update_message")
    text, blocks = content(call)
    if len(text) > UPDATED_CHARACTERS:
        raise ApiError("msg_too_long")
    if not text and blocks is None and "attachments" not in call.args:
        raise ApiError("no_text")
    kept = before.blocks if not text else ()
    after = replace(
        before,
        text=text or before.text,
        blocks=kept if blocks is None else blocks,
        attachments=_attachments(call),
        metadata=_metadata(call) if "metadata" in call.args else before.metadata,
    )
    after = call.workspace.edited(after, call.token.user)
    call.workspace.change(before, after)
    shown = message_json(call.world, after, metadata=True, thread=[])
    for where in ("ts", "thread_ts", "parent_user_id", "reactions"):
        shown.pop(where, None)
    return {"channel": channel.id, "ts": after.ts, "text": after.text, "message": shown}


async def _delete(call: Call) -> Json:
    channel = call.channel()
    message = call.message(channel, "ts")
    if message.user != call.token.user:
        raise ApiError("cant_delete_message")
    call.workspace.delete(message)
    return {"channel": channel.id, "ts": message.ts}


async def _post_ephemeral(call: Call) -> Json:
    channel = call.channel()
    _may_post(call, channel)
    user = call.needed("user")
    if user not in channel.members:
        raise ApiError("user_not_in_channel")
    text, blocks = content(call)
    if not (text or blocks):
        raise ApiError("no_text")
    ephemeral = Ephemeral(
        channel=channel.id,
        ts=call.world.new_ts(),
        user=user,
        text=text,
        blocks=blocks or (),
        thread_ts=call.text("thread_ts"),
    )
    call.world.put_ephemeral(ephemeral)
    return {"message_ts": ephemeral.ts}


async def _permalink(call: Call) -> Json:
    channel = call.channel()
    message = call.message(channel, "message_ts")
    return {"channel": channel.id, "permalink": permalink(call.world, message)}


def content(call: Call) -> tuple[str, tuple[Json, ...] | None]:
    """The text and the checked blocks, None when the call does not name any."""
    text, markdown = call.text("text"), call.text("markdown_text")
    if not markdown:
        return text, checked_blocks(call.json("blocks", wrong="invalid_blocks_format"))
    if text or call.args.get("blocks"):
        raise ApiError("markdown_text_conflict")
    if len(markdown) > MARKDOWN_CHARACTERS:
        raise ApiError("msg_too_long")
    return markdown, with_ids([{"type": "markdown", "text": markdown}])


def checked_blocks(blocks: Any) -> tuple[Json, ...] | None:
    if blocks is None:
        return None
    if not isinstance(blocks, list):
        raise ApiError("invalid_blocks_format")
    if problems := block_problems(blocks):
        raise ApiError("invalid_blocks", *problems)
    if characters(blocks) > MESSAGE_CHARACTERS:
        raise ApiError("msg_blocks_too_long")
    return with_ids(blocks)


def thread_of(call: Call, channel: Channel) -> str:
    """The thread to answer in, which must be a thread."""
    ts = call.text("thread_ts")
    if not ts:
        return ""
    named = call.world.messages.get((channel.id, ts))
    if named is not None and named.is_reply:
        raise ApiError("cannot_reply_to_message")
    if not call.world.thread(channel.id, ts):
        raise ApiError("thread_not_found")
    return ts


def _may_post(call: Call, channel: Channel) -> None:
    if channel.is_archived:
        raise ApiError("is_archived")
    if call.token.user not in channel.members:
        raise ApiError("not_in_channel")


def _attachments(call: Call) -> tuple[Json, ...]:
    return tuple(call.array("attachments", dict))


def _metadata(call: Call) -> Json | None:
    metadata = call.json("metadata", wrong="invalid_metadata_format")
    if not metadata:
        return None
    known = isinstance(metadata, dict) and isinstance(metadata.get("event_type"), str)
    if not known or not isinstance(metadata.get("event_payload"), dict):
        raise ApiError("invalid_metadata_format")
    if len(json.dumps(metadata)) > METADATA_BYTES:
        raise ApiError("metadata_too_large")
    return metadata


_WRITE = ("chat:write",)
METHODS = (
    Method(name="chat.postMessage", answer=_post, scopes=_WRITE, per_minute=0),
    Method(name="chat.update", answer=_update, scopes=_WRITE, per_minute=50),
    Method(name="chat.delete", answer=_delete, scopes=_WRITE, per_minute=50),
    Method(name="chat.postEphemeral", answer=_post_ephemeral, scopes=_WRITE, per_minute=100),
    Method(name="chat.getPermalink", answer=_permalink, per_minute=0),
)
