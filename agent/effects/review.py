"""Answers the comments of one discussion of the merge request, and resolves it; each once."""

from __future__ import annotations

from agent.effects.context import Effect, EffectContext, Handler, known
from agent.errors import Refused
from agent.events import EffectDone, EffectKind
from agent.finish import newest_finish
from agent.intents import Push, Reply
from agent.ports import Discussion
from agent.review import reply_marker
from agent.run import Digest
from agent.serialize import gitlab_quote
from agent.state import RunState


async def _reply(context: EffectContext, effect: Effect[Reply]) -> EffectDone:
    state, intent = effect.state, effect.intent
    made = state.merge_request
    asked = {(n.discussion, n.id) for f in state.followups for n in f.given.notes}
    if made is None or made.iid is None or (intent.discussion, intent.note) not in asked:
        raise Refused("This comment is not one that the run was told of.")
    text = await _words(context, effect)
    context.silent(text)
    project, mark = state.request.project, reply_marker(state.run, intent.note)
    me, talk = await context.writer.me(), await _find(context, effect, made.iid)
    said = any(c.author_id == me and mark in c.text for c in talk.comments)
    if not said:
        await context.heed(state.run)
        await context.writer.reply(project, made.iid, talk.id, f"{text}\n\n{mark}")
        talk = await _find(context, effect, made.iid)  # what is answered can now be resolved
    newer = any(c.id > intent.note and c.author_id != me and not c.system for c in talk.comments)
    if talk.resolvable and not talk.resolved and not newer:
        await context.heed(state.run)
        await context.writer.resolve(project, made.iid, talk.id)
    done = "answered a comment" if newer else "answered a comment and resolved it"
    return EffectDone(
        key=effect.key,
        effect=EffectKind.REPLY,
        result=f"{done} on !{made.iid}",
        url=f"{made.url}#note_{intent.note}" if made.url else "",
        found=said,
    )


async def _words(context: EffectContext, effect: Effect[Reply]) -> str:
    state, commit = effect.state, effect.intent.commit
    if commit is not None:
        known(state, commit)
        if Push(commit=commit).key(state.run) not in {each.key for each in state.done_effects}:
            raise Refused("The change could not be pushed, so no comment is answered with it.")
        return f"Done in `{commit[:8]}`."

    async def body(digest: Digest) -> bytes:
        return await context.store.body(state.run, digest)

    told = await newest_finish(effect.events, body)
    if told is None or not told.answer:
        raise Refused("The model gave no answer to the comment.")
    return gitlab_quote(told.answer)


async def _find(context: EffectContext, effect: Effect[Reply], iid: int) -> Discussion:
    listed = await context.reader.discussions(effect.state.request.project, iid)
    found = next((talk for talk in listed if talk.id == effect.intent.discussion), None)
    if found is None:
        raise Refused("The comment is gone from the merge request.")
    return found


def _subject(state: RunState, intent: Reply) -> str:
    return "answer to a comment on the merge request"


REPLY = Handler(subject=_subject, act=_reply)
