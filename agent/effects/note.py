"""Leaves one note on the issue or merge request that the request named."""

from __future__ import annotations

from agent.effects.context import Effect, EffectContext, Handler, found
from agent.errors import Refused
from agent.events import EffectDone, EffectKind
from agent.intents import LinkBack
from agent.mergerequest import marker, note
from agent.state import RunState


async def _link(context: EffectContext, effect: Effect[LinkBack]) -> EffectDone:
    state, intent = effect.state, effect.intent
    project = state.request.project
    where = "#" if intent.target == "issue" else "!"
    result = f"left a note on {where}{intent.iid}"
    done = EffectDone(key=effect.key, effect=EffectKind.NOTE, result=result)
    if not any(
        (item.kind, item.iid) == (intent.target, intent.iid) for item in state.request.linked
    ):
        raise Refused(f"The request does not name {where}{intent.iid}, so no note is left there.")
    if effect.before and await context.reader.has_note(
        project, intent.target, intent.iid, marker(state.run)
    ):
        return found(done)
    text = note(state, public_url=context.public_url)
    context.silent(text)
    await context.heed(state.run)
    await context.writer.note(project, intent.target, intent.iid, text)
    return done


def _subject(state: RunState, intent: LinkBack) -> str:
    return f"note on {intent.target.replace('_', ' ')} {intent.iid}"


LINK_BACK = Handler(subject=_subject, act=_link)
