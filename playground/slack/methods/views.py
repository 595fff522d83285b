from __future__ import annotations

import json
import secrets
from dataclasses import replace
from typing import Any

from playground.slack.answers import view_json
from playground.slack.blocks import view_problems, with_ids
from playground.slack.methods.call import ApiError, Call, Method
from playground.slack.records import View
from playground.slack.workspace import TRIGGER_SECONDS, Trigger, Workspace

Json = dict[str, Any]
VIEW_BYTES = 250_000
DEEPEST = 3


async def _open(call: Call) -> Json:
    body = _checked(call, "modal")
    trigger = _use_trigger(call)
    for open_one in tuple(call.world.modals.get(trigger.user, ())):
        call.world.close_view(call.world.views[open_one])
    return {"view": view_json(call.world, open_view(call.workspace, trigger.user, body))}


async def _push(call: Call) -> Json:
    body = _checked(call, "modal")
    trigger = _use_trigger(call)
    stack = call.world.modals.get(trigger.user, [])
    if not stack or trigger.view not in stack:
        raise ApiError("not_found")
    if len(stack) >= DEEPEST:
        raise ApiError("push_limit_reached")
    return {"view": view_json(call.world, open_view(call.workspace, trigger.user, body))}


async def _update(call: Call) -> Json:
    body = _checked(call, None)
    id, external = call.text("view_id"), call.text("external_id")
    found = [
        each
        for each in call.world.views.values()
        if each.id == id or (external and each.body.get("external_id") == external)
    ]
    if not found or found[0].body["type"] != body["type"]:
        raise ApiError("not_found")
    if call.text("hash") not in ("", found[0].hash):
        raise ApiError("hash_conflict")
    return {"view": view_json(call.world, replace_view(call.workspace, found[0], body))}


async def _publish(call: Call) -> Json:
    body = _checked(call, "home")
    user = call.needed("user_id")
    world = call.world
    if user not in world.users or world.users[user].is_bot:
        raise ApiError("invalid_arguments", "[ERROR] invalid `user_id`")
    if user in world.homes:
        before = world.views[world.homes[user]]
        if call.text("hash") not in ("", before.hash):
            raise ApiError("hash_conflict")
        return {"view": view_json(world, replace_view(call.workspace, before, body))}
    id = world.new_id("V")
    world.homes[user] = id
    view = View(id=id, user=user, hash=_hash(call.workspace), body=_complete(body), root=id)
    return {"view": view_json(world, world.put_view(view))}


def open_view(workspace: Workspace, user: str, body: Json) -> View:
    """Put a modal on top of what the person has open."""
    world = workspace.world
    stack = world.modals.setdefault(user, [])
    id = world.new_id("V")
    view = View(
        id=id,
        user=user,
        hash=_hash(workspace),
        body=_complete(body),
        root=stack[0] if stack else id,
        previous=stack[-1] if stack else "",
    )
    stack.append(id)
    return world.put_view(view)


def replace_view(workspace: Workspace, view: View, body: Json) -> View:
    """Change a view; what was filled in stays where block and action keep their ids."""
    complete = _complete(body)
    blocks = {each["block_id"] for each in complete["blocks"]}
    state = {id: each for id, each in view.state.items() if id in blocks}
    changed = replace(view, body=complete, hash=_hash(workspace), state=state)
    return workspace.world.put_view(changed)


def _complete(body: Json) -> Json:
    return {**body, "blocks": list(with_ids(body["blocks"]))}


def _hash(workspace: Workspace) -> str:
    return f"{int(workspace.world.clock())}.{secrets.token_hex(4)}"


def _checked(call: Call, kind: str | None) -> Json:
    body = call.json("view")
    if body is None:
        raise ApiError("invalid_arguments", "[ERROR] missing required field: view")
    if problems := view_problems(body):
        raise ApiError("invalid_arguments", *problems)
    if kind and body["type"] != kind:
        raise ApiError("invalid_arguments", f"[ERROR] must be a {kind} [json-pointer:/view/type]")
    if len(json.dumps(body)) > VIEW_BYTES:
        raise ApiError("view_too_large")
    external = body.get("external_id")
    if external and any(
        each.body.get("external_id") == external and each.id != call.text("view_id")
        for each in call.world.views.values()
    ):
        raise ApiError("duplicate_external_id")
    return body


def _use_trigger(call: Call) -> Trigger:
    trigger = call.workspace.triggers.get(call.needed("trigger_id"))
    if trigger is None:
        raise ApiError("invalid_trigger_id")
    if trigger.used:
        raise ApiError("exchanged_trigger_id")
    if call.world.clock() - trigger.at > TRIGGER_SECONDS:
        raise ApiError("expired_trigger_id")
    trigger.used = True
    return trigger


METHODS = (
    Method(name="views.open", answer=_open),
    Method(name="views.push", answer=_push),
    Method(name="views.update", answer=_update),
    Method(name="views.publish", answer=_publish),
)
