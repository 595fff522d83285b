"""Webhooks of a project."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from playground.gitlab import ci_payloads, payloads
from playground.gitlab.git_repo import ZERO
from playground.gitlab.http import ApiError, Call, Many, Reply, Routes, not_found
from playground.gitlab.records import MAINTAINER, Hook
from playground.gitlab.views import when
from playground.gitlab.webhooks import EVENTS

routes = Routes()
OTHERS = (
    *("confidential_issues_events", "confidential_note_events", "wiki_page_events"),
    *("feature_flag_events", "releases_events", "milestone_events", "emoji_events"),
    *("resource_access_token_events", "resource_deploy_token_events", "vulnerability_events"),
)
OPTIONS = ("name", "description", "push_events_branch_filter", "branch_filter_strategy")


def _shown(call: Call, hook: Hook) -> dict[str, Any]:
    now = call.state.now()
    paused = hook.disabled or bool(hook.disabled_until and hook.disabled_until > now)
    return {
        "id": hook.id,
        "url": hook.url,
        **{name: hook.options.get(name) for name in OPTIONS},
        "created_at": when(hook.created_at),
        "enable_ssl_verification": hook.options.get("enable_ssl_verification", True),
        "alert_status": "disabled"
        if hook.disabled
        else "temporarily_disabled"
        if paused
        else "executable",
        "disabled_until": when(hook.disabled_until),
        "url_variables": [],
        "custom_headers": [],
        "custom_webhook_template": None,
        "repository_update_events": False,
        "token_present": bool(hook.token),
        "signing_token_present": bool(hook.signing_token),
        "project_id": call.project.id,
        **{name: hook.events.get(name, False) for name in (*EVENTS, *OTHERS)},
    }


def _fill(call: Call, hook: Hook) -> None:
    if urlsplit(hook.url).scheme not in ("http", "https"):
        raise ApiError(422, "Invalid url given")
    for name in (*EVENTS, *OTHERS):
        hook.events[name] = call.flag(name, hook.events.get(name, name == "push_events"))
    for name in OPTIONS:
        if name in call.params:
            hook.options[name] = call.params[name]
    hook.options["enable_ssl_verification"] = call.flag("enable_ssl_verification", True)
    hook.token = call.text("token", hook.token)
    hook.signing_token = call.text("signing_token", hook.signing_token)


def _wanted(call: Call) -> Hook:
    found = call.project.hooks.get(call.segment("hook_id"))
    if found is None:
        raise not_found()
    return found


@routes.get("/projects/{id}/hooks", MAINTAINER, anonymous=False)
async def listed(call: Call) -> Any:
    return [_shown(call, hook) for hook in call.project.hooks.values()]


@routes.post("/projects/{id}/hooks", MAINTAINER)
async def create(call: Call) -> Any:
    project = call.project
    call.need("url")
    hook = Hook(
        id=call.state.next_id("hook"), url=call.text("url"), created_at=call.state.now(), events={}
    )
    _fill(call, hook)
    project.hooks[hook.id] = hook
    return _shown(call, hook)


@routes.get("/projects/{id}/hooks/{hook_id}", MAINTAINER, anonymous=False)
async def one(call: Call) -> Any:
    return _shown(call, _wanted(call))


@routes.put("/projects/{id}/hooks/{hook_id}", MAINTAINER)
async def update(call: Call) -> Any:
    hook = _wanted(call)
    hook.url = call.text("url", hook.url)
    _fill(call, hook)
    return _shown(call, hook)


@routes.delete("/projects/{id}/hooks/{hook_id}", MAINTAINER)
async def remove(call: Call) -> Any:
    del call.project.hooks[_wanted(call).id]
    return Reply(status=204)


@routes.get("/projects/{id}/hooks/{hook_id}/events", MAINTAINER, anonymous=False)
async def events(call: Call) -> Any:
    return Many(_wanted(call).log[::-1], lambda entry: entry)


@routes.post("/projects/{id}/hooks/{hook_id}/events/{event_id}/resend", MAINTAINER)
async def resend(call: Call) -> Any:
    hook = _wanted(call)
    for entry in hook.log:
        if entry["id"] == call.segment("event_id"):
            key = entry["request_headers"]["Idempotency-Key"]
            data = entry["request_data"]
            status = await call.forge.webhooks.deliver(hook, entry["trigger"], data, key=key)
            return {"response_status": status}
    raise not_found()


@routes.post("/projects/{id}/hooks/{hook_id}/test/{trigger}", MAINTAINER)
async def test(call: Call) -> Any:
    project, hook, kind = call.project, _wanted(call), call.path["trigger"]
    if kind not in EVENTS:
        raise ApiError(400, {"error": "trigger does not have a valid value"})
    sha = await call.forge.repository(project).branch(project.default_branch)
    if sha is None:
        raise ApiError(422, "Ensure the project has at least one commit.")
    ref = f"refs/heads/{project.default_branch}"
    payload = await payloads.push(call.forge, project, call.user, ZERO, sha, ref)
    if kind == "merge_requests_events" and project.merge_requests:
        latest = list(project.merge_requests.values())[-1]
        payload = payloads.merge_request(call.forge, project, latest, call.user, "open")
    if kind == "pipeline_events" and project.pipelines:
        payload = ci_payloads.pipeline(call.forge, project, list(project.pipelines.values())[-1])
    status = await call.forge.webhooks.deliver(hook, kind, payload)
    if not 200 <= status < 300:
        raise ApiError(422, f"Hook executed but returned HTTP {status}")
    return {"message": "201 Created"}
