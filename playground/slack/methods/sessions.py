"""The agent's sessions in threads, and the older status and prompts of assistants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

from playground.slack.answers import session_json
from playground.slack.methods.call import ApiError, Call, Method
from playground.slack.records import Session, SessionStatus

Json = dict[str, Any]
TITLE = 200
LOADING_MESSAGES, PROMPTS = 10, 4


async def _set_status(call: Call) -> Json:
    status = call.needed("status")
    if status not in get_args(SessionStatus):
        raise ApiError("invalid_arguments", "[ERROR] unknown value [json-pointer:/status]")
    channel, thread_ts = _thread(call)
    before = call.world.sessions.get((channel, thread_ts))
    if before is None:
        before = Session(
            channel=channel,
            thread_ts=thread_ts,
            status="active",
            title=_title(call),
            initiator=call.text("initiator_user_id"),
        )
    session = call.world.put_session(replace(before, status=status, hint=""))
    answer = session_json(session)
    if "agent_session_stopped" not in call.world.app.events:
        answer["warning"] = "missing_agent_session_stopped_event_subscription"
    return answer


async def _rename(call: Call) -> Json:
    call.needed("title")
    before = call.world.sessions.get(_thread(call))
    if before is None:
        raise ApiError("session_not_found")
    return session_json(call.world.put_session(replace(before, title=_title(call))))


def _thread(call: Call) -> tuple[str, str]:
    if not call.world.app.is_agent:
        raise ApiError("app_not_agent")
    channel = call.channel("channel_id")
    if call.token.user not in channel.members:
        raise ApiError("channel_not_found")
    thread_ts = call.needed("thread_ts")
    if not call.world.thread(channel.id, thread_ts):
        raise ApiError("thread_not_found")
    return channel.id, thread_ts


def _title(call: Call) -> str:
    title = call.text("title")
    if len(title) > TITLE:
        raise ApiError("invalid_arguments", f"[ERROR] must be less than {TITLE + 1} characters")
    return title


async def _set_hint(call: Call) -> Json:
    channel = call.channel("channel_id")
    thread_ts = call.needed("thread_ts")
    if not call.world.thread(channel.id, thread_ts):
        raise ApiError("invalid_thread_ts")
    if len(call.array("loading_messages", str)) > LOADING_MESSAGES:
        raise ApiError("invalid_arguments", "[ERROR] too many loading messages")
    if call.args.get("status") is None:
        raise ApiError("invalid_arguments", "[ERROR] missing required field: status")
    key = (channel.id, thread_ts)
    before = call.world.sessions.get(key)
    if before is None:
        before = Session(channel=channel.id, thread_ts=thread_ts, status="active")
    call.world.put_session(replace(before, hint=call.text("status")))
    return {}


async def _set_prompts(call: Call) -> Json:
    channel = call.channel("channel_id")
    prompts = call.array("prompts", dict)
    known = all(each.get("title") and each.get("message") for each in prompts)
    if not known or not 1 <= len(prompts) <= PROMPTS:
        raise ApiError("invalid_arguments", f"[ERROR] 1 to {PROMPTS} prompts are needed")
    call.world.put_prompts(channel.id, tuple(prompts))
    return {}


_WRITE = ("chat:write",)
METHODS = (
    Method(name="agents.sessions.setStatus", answer=_set_status, scopes=_WRITE, per_minute=50),
    Method(name="agents.sessions.rename", answer=_rename, scopes=_WRITE, per_minute=50),
    Method(name="assistant.threads.setStatus", answer=_set_hint, scopes=_WRITE, per_minute=600),
    Method(
        name="assistant.threads.setSuggestedPrompts",
        answer=_set_prompts,
        scopes=("assistant:write",),
    ),
)
