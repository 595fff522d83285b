"""Gives the run's merge request to the person who took it over, and calls it ready."""

from __future__ import annotations

from agent.effects.context import Effect, EffectContext, Handler
from agent.effects.merge_request import own_merge_request
from agent.errors import Refused
from agent.events import EffectDone, EffectKind
from agent.intents import HandOver
from agent.state import RunState


async def _hand_over(context: EffectContext, effect: Effect[HandOver]) -> EffectDone:
    """Both steps may be done twice without harm."""
    state = effect.state
    taken = state.taken_over
    if taken is None or taken.by.gitlab_id is None or state.rounds != effect.intent.round:
        raise Refused("Nobody has taken this over any more: people set the run going again.")
    request = await own_merge_request(context, state)
    if request is None:
        raise Refused("The run has no open merge request that could be handed over.")
    await context.heed(state.run)
    await context.writer.assign(request.project, request.iid, taken.by.gitlab_id)
    if request.draft:
        await context.heed(state.run)
        await context.writer.mark_ready(request.project, request.iid)
    return EffectDone(
        key=effect.key,
        effect=EffectKind.HAND_OVER,
        result=f"!{request.iid} is assigned to {taken.by.name} and no draft any more",
        url=request.url,
    )


def _subject(state: RunState, intent: HandOver) -> str:
    return f"merge request for {state.branch}, to the one who took it over"


HAND_OVER = Handler(subject=_subject, act=_hand_over)
