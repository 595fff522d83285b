"""Moves the run's branch to a commit of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agent.canaries import CREDENTIAL
from agent.copies import minded
from agent.difference import read_patch
from agent.effects.context import Effect, EffectContext, Handler, found, known
from agent.errors import Conflict, ForgeRejected, Refused
from agent.events import CheckpointTaken, EffectDone, EffectKind
from agent.intents import Push
from agent.leaks import leaks
from agent.ports import Origin
from agent.rebuild import Rebuild
from agent.run import CommitSha
from agent.state import RunState


async def _push(context: EffectContext, effect: Effect[Push]) -> EffectDone:
    async with minded(context.vaults(effect.state.request.project), None):
        return await _pushed(context, effect)


async def _pushed(context: EffectContext, effect: Effect[Push]) -> EffectDone:
    state, intent = effect.state, effect.intent
    commit, branch = intent.commit, state.branch
    known(state, commit)
    project = await context.reader.project(state.request.project)
    origin = context.writer.origin(project)
    vault = context.vaults(state.request.project)
    done = EffectDone(
        key=effect.key,
        effect=EffectKind.PUSH,
        result=f"pushed {commit[:8]} to {branch}",
        url=f"{project.web_url}/-/tree/{branch}" if project.web_url else "",
    )
    if effect.before and await vault.remote_head(origin, branch) == commit:
        return found(done)
    rebuild = Rebuild(
        vault=vault,
        origin=_at(origin),
        events=effect.events,
        body=lambda digest: context.store.body(state.run, digest),
    )
    await rebuild.commit(commit)  # a worker on another host may have made it
    await _clean(context, effect, commit)
    await _still_open(context, state, intent)
    await context.heed(state.run)
    try:
        await vault.push(origin, commit, branch, expected=intent.expected)
    except ForgeRejected as refusal:
        # a push whose answer was lost on the way is repeated by git itself, and refused then
        head = await vault.remote_head(origin, branch)
        if head == commit:
            return found(done)
        if not isinstance(refusal, Conflict):
            raise
        where = f"stands at {head[:8]}" if head else "is gone"
        if _replaces(state, intent):
            raise Conflict(
                f"The branch {branch} is not where this night had found it: it {where} now. "
                "Nothing was overwritten.",
                status=refusal.status,
            ) from refusal
        raise Conflict(
            f"Somebody else changed the branch {branch} since the run last saw it (it {where} "
            "now). Nothing was overwritten, and the run's own work is kept. Take the commits "
            "from there, or delete the branch and say `retry`.",
            status=refusal.status,
        ) from refusal
    return done


def _at(origin: Origin) -> Callable[[], Awaitable[Origin]]:
    async def known() -> Origin:
        return origin

    return known


def _replaces(state: RunState, intent: Push) -> bool:
    """Would it take the place of what an earlier run has published?"""
    follows = state.request.follows
    return follows is not None and intent.expected == follows.head


async def _still_open(context: EffectContext, state: RunState, intent: Push) -> None:
    """What people have decided since the night had looked stands: nothing is begun anew on its
    branch."""
    follows = state.request.follows
    if follows is None or not _replaces(state, intent):
        return
    request = await context.reader.merge_request(state.request.project, follows.iid)
    if request.state != "opened":
        raise Refused(f"!{follows.iid} is {request.state} by now, so nothing was pushed.")
    approvers = await context.reader.approvers(state.request.project, follows.iid)
    if approvers or request.merges_itself:
        # an approval may outlive a push, and would then hold for what nobody has seen
        decided = "approved" if approvers else "set to be merged automatically"
        raise Refused(f"!{follows.iid} is {decided} by now, so nothing was pushed.")


async def _clean(context: EffectContext, effect: Effect[Push], commit: CommitSha) -> None:
    """Here are other credentials than the worker's, so the change is searched once more."""
    if not context.canaries.secrets:
        return
    state = effect.state
    made = next(each for each in state.commits if each.commit == commit)
    context.silent(made.title)
    for event in effect.events:
        taken = event.payload
        if isinstance(taken, CheckpointTaken) and taken.tree == made.tree:
            patch = await context.store.body(state.run, taken.patch)
            diffs = read_patch(patch.decode("utf-8", "surrogateescape"))
            vault = context.vaults(state.request.project)
            if await leaks(context.canaries, vault, made.tree, diffs):
                raise Refused(CREDENTIAL)
            return


def _subject(state: RunState, intent: Push) -> str:
    return f"push {intent.commit[:8]} to {state.branch}"


PUSH = Handler(subject=_subject, act=_push)
