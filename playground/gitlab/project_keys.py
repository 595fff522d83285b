"""What lets a machine into a project: triggers of pipelines and deploy keys."""

from __future__ import annotations

import secrets
from typing import Any

from playground.gitlab import views
from playground.gitlab.http import Call, Reply, Routes, not_found
from playground.gitlab.records import (
    DEVELOPER,
    MAINTAINER,
)
from playground.gitlab.users import fingerprint, new_key
from playground.gitlab.views import when

routes = Routes()


def _trigger(call: Call) -> dict[str, Any]:
    found = call.project.triggers.get(call.segment("trigger_id"))
    if found is None:
        raise not_found("Trigger")
    return found


@routes.get("/projects/{id}/triggers", MAINTAINER)
async def triggers(call: Call) -> Any:
    return list(call.project.triggers.values())


@routes.post("/projects/{id}/triggers", MAINTAINER)
async def create_trigger(call: Call) -> Any:
    project = call.project
    call.need("description")
    now = when(call.state.now())
    trigger = {
        "id": call.state.next_id("trigger"),
        "token": f"glptt-{secrets.token_hex(20)}",
        "description": call.text("description"),
        "created_at": now,
        "updated_at": now,
        "last_used": None,
        "expires_at": None,
        "owner": views.user(call.forge, call.user),
    }
    project.triggers[trigger["id"]] = trigger
    return trigger


@routes.get("/projects/{id}/triggers/{trigger_id}", MAINTAINER)
async def trigger(call: Call) -> Any:
    return _trigger(call)


@routes.put("/projects/{id}/triggers/{trigger_id}", MAINTAINER)
async def update_trigger(call: Call) -> Any:
    found = _trigger(call)
    found["description"] = call.text("description", found["description"])
    return found


@routes.delete("/projects/{id}/triggers/{trigger_id}", MAINTAINER)
async def remove_trigger(call: Call) -> Any:
    del call.project.triggers[_trigger(call)["id"]]
    return Reply(status=204)


# --- deploy keys


@routes.get("/projects/{id}/deploy_keys", MAINTAINER)
async def deploy_keys(call: Call) -> Any:
    return list(call.project.deploy_keys.values())


@routes.post("/projects/{id}/deploy_keys", MAINTAINER)
async def add_deploy_key(call: Call) -> Any:
    project = call.project
    key = new_key(call)
    digest = fingerprint(key["key"])
    key |= {"fingerprint": None, "fingerprint_sha256": digest, "can_push": call.flag("can_push")}
    project.deploy_keys[key["id"]] = key
    return key


def _deploy_key(call: Call) -> dict[str, Any]:
    found = call.project.deploy_keys.get(call.segment("key_id"))
    if found is None:
        raise not_found("Deploy Key")
    return found


@routes.get("/projects/{id}/deploy_keys/{key_id}", MAINTAINER)
async def deploy_key(call: Call) -> Any:
    return _deploy_key(call)


@routes.delete("/projects/{id}/deploy_keys/{key_id}", MAINTAINER)
async def remove_deploy_key(call: Call) -> Any:
    del call.project.deploy_keys[_deploy_key(call)["id"]]
    return Reply(status=204)


@routes.post("/projects/{id}/deploy_keys/{key_id}/enable", MAINTAINER)
async def enable_deploy_key(call: Call) -> Any:
    number = call.segment("key_id")
    for other in call.state.projects.values():
        if number in other.deploy_keys and call.state.access(other, call.user) >= DEVELOPER:
            call.project.deploy_keys[number] = other.deploy_keys[number]
            return other.deploy_keys[number]
    raise not_found("Deploy Key")
