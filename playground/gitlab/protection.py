"""Protected branches and protected environments."""

from __future__ import annotations

from typing import Any

from playground.gitlab.http import ApiError, Call, Reply, Routes, not_found
from playground.gitlab.records import DEVELOPER, MAINTAINER, Grant, ProtectedBranch
from playground.gitlab.records import ProtectedEnvironment as Protected

routes = Routes()
NAMES = {0: "No one", 30: "Developers + Maintainers", 40: "Maintainers", 60: "Admins"}


def _grant(call: Call, grant: Grant) -> dict[str, Any]:
    user = call.state.users.get(grant.user_id or 0)
    return {
        "id": grant.id,
        "access_level": 40 if grant.access_level is None else grant.access_level,
        "access_level_description": user.name if user else NAMES.get(grant.access_level or 0, ""),
        "deploy_key_id": None,
        "user_id": grant.user_id,
        "group_id": grant.group_id,
    }


def _grants(call: Call, level: str, listed: str, default: int | None) -> list[Grant]:
    found = [
        Grant(
            id=call.state.next_id("grant"),
            access_level=_number(entry.get("access_level")),
            user_id=_number(entry.get("user_id")),
            group_id=_number(entry.get("group_id")),
        )
        for entry in call.items(listed)
        if isinstance(entry, dict)
    ]
    asked = call.number(level, None if found else default)
    if asked is not None:
        found.append(Grant(id=call.state.next_id("grant"), access_level=asked))
    return found


def _number(value: Any) -> int | None:
    return int(value) if value not in (None, "") else None


def _branch(call: Call, rule: ProtectedBranch) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": rule.name,
        "push_access_levels": [_grant(call, g) for g in rule.push],
        "merge_access_levels": [_grant(call, g) for g in rule.merge],
        "allow_force_push": rule.allow_force_push,
        "unprotect_access_levels": [_grant(call, g) for g in rule.unprotect],
        "code_owner_approval_required": rule.code_owner_approval_required,
        "inherited": False,
    }


def _wanted(call: Call) -> ProtectedBranch:
    found = call.project.protected_branches.get(call.path["name"])
    if found is None:
        raise not_found()
    return found


@routes.get("/projects/{id}/protected_branches", DEVELOPER, anonymous=False)
async def branches(call: Call) -> Any:
    wanted = call.text("search")
    rules = call.project.protected_branches.values()
    return [_branch(call, rule) for rule in rules if wanted in rule.name]


@routes.get("/projects/{id}/protected_branches/{name}", DEVELOPER, anonymous=False)
async def branch(call: Call) -> Any:
    return _branch(call, _wanted(call))


@routes.post("/projects/{id}/protected_branches", MAINTAINER)
async def protect(call: Call) -> Any:
    project = call.project
    call.need("name")
    name = call.text("name")
    if name in project.protected_branches:
        raise ApiError(409, f"Protected branch '{name}' already exists")
    rule = ProtectedBranch(
        id=call.state.next_id("protected_branch"),
        name=name,
        push=_grants(call, "push_access_level", "allowed_to_push", 40),
        merge=_grants(call, "merge_access_level", "allowed_to_merge", 40),
        unprotect=_grants(call, "unprotect_access_level", "allowed_to_unprotect", None),
        allow_force_push=call.flag("allow_force_push"),
    )
    project.protected_branches[name] = rule
    return _branch(call, rule)


@routes.add("PATCH", "/projects/{id}/protected_branches/{name}", MAINTAINER)
async def change(call: Call) -> Any:
    rule = _wanted(call)
    rule.allow_force_push = call.flag("allow_force_push", rule.allow_force_push)
    rule.push = _grants(call, "push_access_level", "allowed_to_push", None) or rule.push
    rule.merge = _grants(call, "merge_access_level", "allowed_to_merge", None) or rule.merge
    return _branch(call, rule)


@routes.delete("/projects/{id}/protected_branches/{name}", MAINTAINER)
async def unprotect(call: Call) -> Any:
    del call.project.protected_branches[_wanted(call).name]
    return Reply(status=204)


# --- environments


def _environment(call: Call, rule: Protected) -> dict[str, Any]:
    return {
        "name": rule.name,
        "deploy_access_levels": [
            _grant(call, g) | {"group_inheritance_type": 0} for g in rule.deploy
        ],
        "required_approval_count": rule.required_approvals,
        "approval_rules": [],
    }


def _protected(call: Call) -> Protected:
    found = call.project.protected_environments.get(call.path["name"])
    if found is None:
        raise not_found()
    return found


@routes.get("/projects/{id}/protected_environments", MAINTAINER, anonymous=False)
async def environments(call: Call) -> Any:
    return [_environment(call, r) for r in call.project.protected_environments.values()]


@routes.get("/projects/{id}/protected_environments/{name}", MAINTAINER, anonymous=False)
async def environment(call: Call) -> Any:
    return _environment(call, _protected(call))


@routes.post("/projects/{id}/protected_environments", MAINTAINER)
async def protect_environment(call: Call) -> Any:
    project = call.project
    call.need("name", "deploy_access_levels")
    name = call.text("name")
    if name in project.protected_environments:
        raise ApiError(409, f"Protected environment '{name}' already exists")
    rule = Protected(
        name=name,
        deploy=_grants(call, "-", "deploy_access_levels", None),
        required_approvals=call.number("required_approval_count", 0) or 0,
    )
    project.protected_environments[name] = rule
    return _environment(call, rule)


@routes.put("/projects/{id}/protected_environments/{name}", MAINTAINER)
async def change_environment(call: Call) -> Any:
    rule = _protected(call)
    rule.deploy = _grants(call, "-", "deploy_access_levels", None) or rule.deploy
    count = call.number("required_approval_count", rule.required_approvals)
    rule.required_approvals = count or 0
    return _environment(call, rule)


@routes.delete("/projects/{id}/protected_environments/{name}", MAINTAINER)
async def unprotect_environment(call: Call) -> Any:
    del call.project.protected_environments[_protected(call).name]
    return Reply(status=204)
