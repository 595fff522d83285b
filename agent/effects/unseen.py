"""A merge request of our own that was closed or merged before we had heard of it."""

from __future__ import annotations

from typing import Any

from agent.effects.context import Effect, EffectContext
from agent.events import EffectDone
from agent.ports import MergeRequest


async def opened_unseen(
    context: EffectContext, effect: Effect[Any], *, branch: str, mark: str
) -> MergeRequest | None:
    """One that bears our mark, and that the log does not know: this effect has opened it, and the
    answer was lost. Whatever somebody has done with it since, another one would be a second one."""
    if not effect.before:
        return None
    events = [event.payload for event in effect.events]
    known = {each.iid for each in events if isinstance(each, EffectDone)}
    me = await context.writer.me()
    listed = await context.reader.merge_requests(effect.state.request.project, branch)
    ours = (r for r in listed if r.author_id == me and mark in r.description)
    return next((request for request in ours if request.iid not in known), None)
