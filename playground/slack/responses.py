"""Answers that come in by a `response_url`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from playground.slack.methods import ApiError
from playground.slack.methods.chat import checked_blocks
from playground.slack.records import Ephemeral, Message
from playground.slack.workspace import (
    RESPONSE_SECONDS,
    RESPONSES,
    ResponseHook,
    Workspace,
)

Json = dict[str, Any]


def respond(workspace: Workspace, name: str, body: Json) -> None:
    """Carry out an answer: a new message, or the one that was clicked changed or deleted."""
    hook = workspace.hooks.get(name)
    if hook is None or workspace.world.clock() - hook.at > RESPONSE_SECONDS:
        raise ApiError("expired_url")
    if hook.uses >= RESPONSES:
        raise ApiError("used_url")
    text, blocks = str(body.get("text") or ""), checked_blocks(body.get("blocks")) or ()
    if not (text or blocks or body.get("delete_original")):
        raise ApiError("no_text")
    hook.uses += 1
    if body.get("delete_original"):
        _delete(workspace, hook)
    elif body.get("replace_original"):
        _replace(workspace, hook, text, blocks)
    else:
        _post(workspace, hook, body, text, blocks)


def _delete(workspace: Workspace, hook: ResponseHook) -> None:
    message = _original(workspace, hook)
    if isinstance(message, Message):
        workspace.delete(message)
    else:
        workspace.world.dismiss(message)


def _replace(workspace: Workspace, hook: ResponseHook, text: str, blocks: tuple[Json, ...]) -> None:
    message = _original(workspace, hook)
    if isinstance(message, Ephemeral):
        workspace.world.put_ephemeral(replace(message, text=text, blocks=blocks))
        return
    changed = workspace.edited(replace(message, text=text, blocks=blocks), message.user)
    workspace.change(message, changed)


def _original(workspace: Workspace, hook: ResponseHook) -> Message | Ephemeral:
    key = (hook.channel, hook.ts)
    world = workspace.world
    found = world.ephemerals.get(key) if hook.ephemeral else world.messages.get(key)
    if found is None:
        raise ApiError("message_not_found")
    return found


def _post(
    workspace: Workspace, hook: ResponseHook, body: Json, text: str, blocks: tuple[Json, ...]
) -> None:
    world = workspace.world
    thread_ts = str(body.get("thread_ts") or "")
    if body.get("response_type") == "in_channel":
        workspace.post(
            Message(
                channel=hook.channel,
                ts=world.new_ts(),
                user=world.app.bot_user,
                text=text,
                blocks=blocks,
                thread_ts=thread_ts,
                bot_id=world.app.bot_id,
                app_id=world.app.id,
            )
        )
        return
    world.put_ephemeral(
        Ephemeral(
            channel=hook.channel,
            ts=world.new_ts(),
            user=hook.user,
            text=text,
            blocks=blocks,
            thread_ts=thread_ts,
        )
    )
