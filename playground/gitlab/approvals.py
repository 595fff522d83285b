"""Approvals of merge requests."""

from __future__ import annotations

from typing import Any

from playground.gitlab import views
from playground.gitlab.http import ApiError, Call, Reply, Routes
from playground.gitlab.merge_views import approvals_needed, approved
from playground.gitlab.merging import approve, merge_request_of
from playground.gitlab.records import DEVELOPER, GUEST

routes = Routes()
BASE = "/projects/{id}/merge_requests/{iid}"


def _shown(call: Call) -> dict[str, Any]:
    project, mr = call.project, merge_request_of(call)
    mine = call.actor is not None and call.actor.id in mr.approved_by
    level = call.state.access(project, call.actor)
    needed = approvals_needed(project, mr)
    paid: dict[str, Any] = {}
    if needed:  # only the paid tiers ask for approvals, and tell of them
        left = max(needed - len(mr.approved_by), 0)
        paid = {"approvals_required": needed, "approvals_left": left}
    return paid | {
        "user_has_approved": mine,
        "user_can_approve": not mine and level >= DEVELOPER,
        "approved": approved(project, mr),
        "approved_by": [
            {"user": views.user_by_id(call.forge, number), "approved_at": views.when(moment)}
            for number, moment in mr.approved_by.items()
        ],
    }


@routes.get(BASE + "/approvals", GUEST)
async def approvals(call: Call) -> Any:
    return _shown(call)


@routes.get(BASE + "/approval_state", GUEST)
async def state(call: Call) -> Any:
    project, mr = call.project, merge_request_of(call)
    needed = approvals_needed(project, mr)
    rule = {
        "id": 1,
        "name": "All Members",
        "rule_type": "any_approver",
        "report_type": None,
        "eligible_approvers": [],
        "approvals_required": needed,
        "users": [],
        "groups": [],
        "contains_hidden_groups": False,
        "section": None,
        "source_rule": None,
        "overridden": False,
        "code_owner": False,
        "approved_by": [views.user_by_id(call.forge, number) for number in mr.approved_by],
        "approved": approved(project, mr),
    }
    return {"approval_rules_overwritten": False, "rules": [rule] if needed else []}


@routes.post(BASE + "/approve", DEVELOPER)
async def approve_it(call: Call) -> Any:
    project, mr = call.project, merge_request_of(call)
    if mr.state != "opened" or call.user.id in mr.approved_by:
        raise ApiError(401, "401 Unauthorized")
    if call.text("sha") and call.text("sha") != mr.sha:
        raise ApiError(409, f"SHA does not match HEAD of source branch: {mr.sha}")
    approve(call.forge, project, mr, call.user)
    return _shown(call)


@routes.post(BASE + "/unapprove", DEVELOPER)
async def unapprove(call: Call) -> Any:
    if merge_request_of(call).approved_by.pop(call.user.id, None) is None:
        raise ApiError(404, "404 Not Found")
    return _shown(call)


@routes.put(BASE + "/reset_approvals", DEVELOPER)
async def reset(call: Call) -> Any:
    if not call.user.bot:
        raise ApiError(401, "401 Unauthorized")
    merge_request_of(call).approved_by.clear()
    return Reply({"message": "202 Accepted"}, 202)
