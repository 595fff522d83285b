"""Opens the run's one draft merge request, or brings its description up to date."""

from __future__ import annotations

from collections.abc import Sequence

from agent.effects.context import Effect, EffectContext, Handler, NotYet, known
from agent.effects.unseen import opened_unseen
from agent.errors import Conflict, ForgeRejected, Refused
from agent.events import EffectDone, EffectKind, RunEnded, RunEvent, ToolReturned
from agent.finish import finish_of
from agent.intents import PublishMergeRequest, Push
from agent.mergerequest import description, marker, title
from agent.ports import MergeRequest
from agent.serialize import plain_title
from agent.state import RunState


async def _publish(context: EffectContext, effect: Effect[PublishMergeRequest]) -> EffectDone:
    state, commit = effect.state, effect.intent.commit
    known(state, commit)
    pushed = Push(commit=commit).key(state.run)
    if pushed not in {each.key for each in state.done_effects}:
        raise Refused("The branch could not be pushed, so there is no merge request for it.")
    if state.workspace is None:
        raise Refused("The run has no base branch, so there is nothing to merge into.")
    text = description(state, summary=_summary(effect.events), public_url=context.public_url)
    context.silent(text, title(state))
    standing = await own_merge_request(context, state)
    if standing is not None:
        if standing.description.strip() != text.strip():
            await context.heed(state.run)
            await context.writer.update_merge_request(
                standing.project,
                standing.iid,
                description=text,
                title=_new_title(state, standing),
            )
        return _done(effect.key, standing, found_before=True)
    if follows := state.request.follows:
        raise Refused(f"!{follows.iid} is not open any more, so it is left as it is.")
    mark = marker(state.run)
    if unseen := await opened_unseen(context, effect, branch=state.branch, mark=mark):
        return _done(effect.key, unseen, found_before=True)
    await context.heed(state.run)
    try:
        made = await context.writer.open_merge_request(
            state.request.project,
            source=state.branch,
            target=state.workspace.branch,
            title=title(state),
            description=text,
        )
    except Conflict as conflict:
        # One stands for the branch: our own, not seen a moment ago, or somebody else's.
        standing = await own_merge_request(context, state)
        if standing is None:
            raise NotYet(str(conflict)) from conflict
        return _done(effect.key, standing, found_before=True)
    except ForgeRejected as refusal:
        if refusal.status in (400, 404, 422):
            raise NotYet(str(refusal)) from refusal
        raise
    return _done(effect.key, made, found_before=False)


def _new_title(state: RunState, standing: MergeRequest) -> str | None:
    """Of one that an earlier run had titled. Whether it is a draft is left as it is."""
    if state.request.follows is None or marker(state.run) in standing.description:
        return None
    said = title(state)
    return said if standing.draft else plain_title(said)


async def own_merge_request(context: EffectContext, state: RunState) -> MergeRequest | None:
    """The run's own open merge request, or the one that it has taken over from earlier runs.
    Refuses when somebody else's stands for the branch."""
    branch = state.branch
    listed = await context.reader.merge_requests(state.request.project, branch)
    opened = [request for request in listed if request.state == "opened"]
    if not opened:
        return None
    me = await context.writer.me()
    follows = state.request.follows
    marks = [marker(run) for run in (state.run, *(follows.runs if follows else ()))]
    for request in opened:
        if request.author_id == me and any(mark in request.description for mark in marks):
            return request
    raise Refused(
        f"A merge request that is not the run's own, !{opened[0].iid}, stands for the branch "
        f"{branch} already. Close it, then say `retry`."
    )


def _summary(events: Sequence[RunEvent]) -> str:
    """What the model said it did, round by round, untrusted. Answers to questions are left out."""
    told: list[str] = []
    newest = ""
    for event in events:
        match event.payload:
            case ToolReturned(tool="finish", ok=True, arguments=arguments):
                said = finish_of(arguments)
                newest = "" if said.answer else said.summary
            case RunEnded():
                told.append(newest)
                newest = ""
            case _:
                pass
    return "\n\n".join(dict.fromkeys(part for part in (*told, newest) if part))


def _done(key: str, request: MergeRequest, *, found_before: bool) -> EffectDone:
    return EffectDone(
        key=key,
        effect=EffectKind.UPDATE_MERGE_REQUEST if found_before else EffectKind.OPEN_MERGE_REQUEST,
        result=f"!{request.iid}",
        url=request.url,
        iid=request.iid,
        found=found_before,
    )


def _subject(state: RunState, intent: PublishMergeRequest) -> str:
    return f"merge request for {state.branch}"


PUBLISH = Handler(subject=_subject, act=_publish)
