"""Emoji on issues, merge requests and notes, and the events of labels, milestones, weights."""

from __future__ import annotations

from typing import Any

from playground.gitlab import views
from playground.gitlab.discussions import note_of, talk_of
from playground.gitlab.http import Call, Reply, Routes, not_found
from playground.gitlab.issuables import event, events
from playground.gitlab.records import GUEST, Discussed, Issuable
from playground.gitlab.views import when

routes = Routes()


def _emoji(call: Call, on: Discussed) -> dict[int, dict[str, Any]]:
    if "note_id" in call.path:
        return note_of(call, on)[1].emoji
    assert isinstance(on, Issuable)
    return on.emoji


async def list_emoji(call: Call) -> Any:
    return list(_emoji(call, await talk_of(call)).values())


async def add_emoji(call: Call) -> Any:
    call.need("name")
    on = await talk_of(call)
    note = "note_id" in call.path
    now = when(call.state.now())
    emoji: dict[str, Any] = {
        "id": call.state.next_id("emoji"),
        "name": call.text("name").strip(":"),
        "user": views.user(call.forge, call.user),
        "created_at": now,
        "updated_at": now,
        "awardable_id": call.segment("note_id") if note else on.id,  # type: ignore[attr-defined]
        "awardable_type": "Note" if note else type(on).__name__,
        "url": None,
    }
    _emoji(call, on)[emoji["id"]] = emoji
    return emoji


async def one_emoji(call: Call) -> Any:
    found = _emoji(call, await talk_of(call)).get(call.segment("emoji_id"))
    if found is None:
        raise not_found("Award Emoji")
    return found


async def remove_emoji(call: Call) -> Any:
    if _emoji(call, await talk_of(call)).pop(call.segment("emoji_id"), None) is None:
        raise not_found("Award Emoji")
    return Reply(status=204)


def _events_of(kind: str) -> tuple[Any, Any]:
    async def listed(call: Call) -> Any:
        on = await talk_of(call)
        assert isinstance(on, Issuable)
        return events(on, kind)

    async def one(call: Call) -> Any:
        on = await talk_of(call)
        assert isinstance(on, Issuable)
        return event(on, kind, call.segment("event_id"))

    return listed, one


for _root in ("/projects/{id}/issues/{iid}", "/projects/{id}/merge_requests/{iid}"):
    for _target in (_root, f"{_root}/notes/{{note_id}}"):
        routes.get(f"{_target}/award_emoji", GUEST)(list_emoji)
        routes.post(f"{_target}/award_emoji", GUEST)(add_emoji)
        routes.get(f"{_target}/award_emoji/{{emoji_id}}", GUEST)(one_emoji)
        routes.delete(f"{_target}/award_emoji/{{emoji_id}}", GUEST)(remove_emoji)
    for _kind in ("label", "milestone", "weight"):
        _listed, _one = _events_of(_kind)
        routes.get(f"{_root}/resource_{_kind}_events", GUEST)(_listed)
        routes.get(f"{_root}/resource_{_kind}_events/{{event_id}}", GUEST)(_one)
