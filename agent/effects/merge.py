"""Merges at exactly one head, once; each of GitLab's answers has its own meaning."""

from __future__ import annotations

from dataclasses import replace

from agent.delivery import Delivery
from agent.effects.context import Effect, EffectContext, Handler, Later, NotYet, found
from agent.effects.passing import (
    approved,
    nobody_is_asked,
    not_stopped,
    on_its_way,
    settled,
    stands_still,
    within_limits,
)
from agent.errors import Conflict, ForgeRejected, Refused
from agent.events import EffectDone, EffectFailed, EffectKind
from agent.intents import Merge
from agent.pipeline import Verdict
from agent.ports import MergeRequest
from agent.run import CommitSha
from agent.state import RunState
from agent.watch import judge

#: GitLab's `detailed_merge_status` while it has not made up its mind.
TRANSITIONAL = frozenset({"preparing", "unchecked", "checking", "approvals_syncing"})
#: What keeps a merge request from being merged, by GitLab's word, and what to do.
OBSTACLES = {
    "blocked_status": "another merge request has to be merged first",
    "broken_status": "it cannot be merged into its target as it is",
    "ci_must_pass": "GitLab wants a pipeline that passed, and knows of none",
    "commits_status": "it has no commits, or its branch is gone",
    "conflict": "it conflicts with its target; ask for the conflict to be resolved",
    "discussions_not_resolved": "there are threads on it that are not resolved",
    "draft_status": "it is a draft again",
    "external_status_checks": "an external status check has not passed",
    "jira_association_missing": "GitLab wants its title to name a Jira issue",
    "locked_lfs_files": "it touches files that somebody has locked",
    "locked_paths": "it touches paths that somebody has locked",
    "merge_request_blocked": "another merge request has to be merged first",
    "merge_time": "GitLab merges it only after a set time",
    "need_rebase": "it has to be rebased on its target first",
    "not_approved": "GitLab's own approvals are missing",
    "not_open": "it is not open any more",
    "policies_denied": "a policy of GitLab's denies it",
    "requested_changes": "a reviewer has requested changes",
    "security_policy_pipeline_check": "a pipeline that a security policy asks for has not passed",
    "security_policy_violations": "a security policy of GitLab's denies it",
    "status_checks_must_pass": "a status check has not passed",
    "title_regex": "its title is not of the form that the project wants",
}
_WAITS = frozenset({"ci_still_running"})


def _stands(state: RunState, intent: Merge) -> Delivery:
    """By the log alone."""
    delivery = on_its_way(state, intent.delivery)
    if delivery.merged is not None:
        raise Refused("This has been merged already.")
    if delivery.begun.kind == "change" and delivery.commit != intent.commit:
        raise Refused(f"What is on its way is not {intent.commit[:8]}.")
    if intent.gate is not None:
        approved(state, intent.gate, delivery, intent.commit)
    elif delivery.begun.kind == "revert" and delivery.commit != intent.commit:
        raise Refused(f"{intent.commit[:8]} may be more than a revert, so people have to see it.")
    return delivery


async def _merge(context: EffectContext, effect: Effect[Merge]) -> EffectDone:
    state, intent = effect.state, effect.intent
    project, iid = state.request.project, _iid(state, intent)
    request = await context.reader.merge_request(project, iid)
    if request.state == "merged":
        return await _was_merged(context, effect, request)
    delivery = _stands(state, intent)
    _same(delivery, request, intent.commit)
    if _accepted(effect):
        raise Later(_accepts(iid))  # asked once; now it is looked at only
    await _at_head(context, state, request, intent.commit)
    await _allowed(context, effect, delivery)
    await context.heed(state.run)
    if request.draft:
        await context.merger.mark_ready(project, iid)
    # GitLab merges to wherever it goes by now: `sha` guards the commit only, so this is read last
    request = await context.reader.merge_request(project, iid)
    if request.state == "merged":
        return await _was_merged(context, effect, request)
    _same(delivery, request, intent.commit)
    await not_stopped(context, state)
    if request.detailed_status in TRANSITIONAL or request.target_changed:
        raise NotYet(f"GitLab is still checking whether !{iid} can be merged.")
    await context.heed(state.run)
    try:
        request = await context.merger.merge(project, iid, intent.commit)
    except Conflict as refusal:
        raise await _other_head(context, effect, iid, refusal) from refusal
    except ForgeRejected as refusal:
        request = await context.reader.merge_request(project, iid)
        if request.state == "merged":
            return await _was_merged(context, effect, request)
        raise _meaning(request, refusal) from refusal
    if request.state != "merged" or request.merged is None:
        request = await context.reader.merge_request(project, iid)
    if request.state != "merged":
        raise Later(_accepts(iid))
    return _done(effect, request)


def _accepts(iid: int) -> str:
    return f"GitLab has accepted !{iid} and merges it later."


def _accepted(effect: Effect[Merge]) -> bool:
    """Was that ever GitLab's answer? It may not have answered at all since."""
    told = _accepts(_iid(effect.state, effect.intent))
    return any(
        isinstance(event.payload, EffectFailed)
        and (event.payload.key, event.payload.problem) == (effect.key, told)
        for event in effect.events
    )


async def _allowed(context: EffectContext, effect: Effect[Merge], delivery: Delivery) -> None:
    state, intent = effect.state, effect.intent
    project, target = state.request.project, delivery.begun.target
    rule = settled(context, state).target(target)
    if rule is None:
        raise Refused(f"There is no rule for `{target}` any more; merging is left to people.")
    if intent.gate is not None:
        gate = approved(state, intent.gate, delivery, intent.commit)
        await stands_still(context, tuple(effect.events), state, gate)
    else:
        nobody_is_asked(context, rule.rule, target)
        await within_limits(context, state, rule, _iid(state, intent))
    lines = await context.reader.pipelines(project, sha=intent.commit)
    _, judged = judge(lines, intent.commit, float("inf"))
    if judged.verdict is not Verdict.GREEN:
        raise Refused(f"{judged.sentence} Only what passed is merged.")


def _same(delivery: Delivery, request: MergeRequest, commit: CommitSha) -> None:
    name, target = f"!{request.iid}", delivery.begun.target
    if request.state == "closed":
        raise Refused(f"{name} was closed meanwhile. Nothing was merged.")
    if request.target_branch != target:
        raise Refused(f"{name} goes to `{request.target_branch}` now. Nothing was merged.")
    if request.sha != commit:
        raise Refused(_superseded(request, commit))


def _superseded(request: MergeRequest, commit: CommitSha) -> str:
    head = f"stands at {request.sha[:8]}" if request.sha else "has no commit"
    return (
        f"Superseded: !{request.iid} {head} now, and what was to be merged is {commit[:8]}. "
        "Nothing was merged."
    )


async def _at_head(
    context: EffectContext, state: RunState, request: MergeRequest, commit: CommitSha
) -> None:
    """GitLab tells its merge requests of a push later than git."""
    path = state.request.project
    origin = context.reader.origin(await context.reader.project(path))
    head = await context.vaults(path).remote_head(origin, request.source_branch)
    if head != commit:
        where = f"stands at {head[:8]}" if head else "is gone"
        raise Refused(
            f"Superseded: the branch {request.source_branch} {where} now, and what was to be "
            f"merged is {commit[:8]}. Nothing was merged."
        )


async def _other_head(
    context: EffectContext, effect: Effect[Merge], iid: int, refusal: Conflict
) -> Exception:
    """GitLab says 409: for another head, or while something else is going on."""
    request = await context.reader.merge_request(effect.state.request.project, iid)
    if request.sha != effect.intent.commit:
        return Refused(_superseded(request, effect.intent.commit))
    return NotYet(str(refusal))


def _meaning(request: MergeRequest, refusal: ForgeRejected) -> Exception:
    name, word = f"!{request.iid}", request.detailed_status
    match refusal.status:
        case 401 | 403:
            told = f"I may not merge into `{request.target_branch}`: GitLab protects it from me."
            return Refused(f"{told} {refusal} Merge {name} there yourself, or let me.")
        case 406 | 422:
            told = OBSTACLES.get(word, OBSTACLES["conflict"])
            return Refused(f"GitLab does not merge {name}: {told}. Nothing was merged.")
        case 405 if word in TRANSITIONAL or word == "mergeable":
            return NotYet(f"GitLab is still checking whether {name} can be merged.")
        case 405 if word == "draft_status" and not request.draft:  # it was one a moment ago
            return NotYet(f"GitLab is still checking whether {name} can be merged.")
        case 405 if word in _WAITS:
            return Later(f"GitLab waits for a pipeline of {name}.")
        case 405:
            told = OBSTACLES.get(word, f"it is `{word}`" if word else "it does not say why")
            return Refused(f"GitLab does not merge {name}: {told}. Nothing was merged.")
        case _:
            return Refused(f"GitLab does not merge {name}. {refusal}")


async def _was_merged(
    context: EffectContext, effect: Effect[Merge], request: MergeRequest
) -> EffectDone:
    """By us, when the answer was lost; or by somebody else, at the head that was meant."""
    if request.sha != effect.intent.commit:
        raise Refused(f"!{request.iid} was merged meanwhile, at another commit.")
    target = _delivery(effect.state, effect.intent).begun.target
    if request.target_branch != target:
        raise Refused(
            f"!{request.iid} was merged meanwhile into `{request.target_branch}`, and not into "
            f"`{target}`."
        )
    done = found(_done(effect, request))
    if request.merged_by is None or request.merged_by == await context.merger.me():
        return done
    try:
        who = f"@{await context.reader.username(request.merged_by)}"
    except ForgeRejected:
        who = "somebody"
    return replace(done, result=f"!{request.iid} was merged by {who} meanwhile")


def _done(effect: Effect[Merge], request: MergeRequest) -> EffectDone:
    if request.merged is None:
        raise NotYet(f"!{request.iid} is merged; GitLab does not tell yet as which commit.")
    return EffectDone(
        key=effect.key,
        effect=EffectKind.MERGE,
        result=f"merged !{request.iid} into {request.target_branch}",
        url=request.url,
        iid=request.iid,
        commit=request.merged,
    )


def _iid(state: RunState, intent: Merge) -> int:
    made = _delivery(state, intent)
    if made.iid is None:
        raise Refused("There is no merge request to be merged.")
    return made.iid


def _delivery(state: RunState, intent: Merge) -> Delivery:
    made = next((each for each in state.deliveries if each.number == intent.delivery), None)
    if made is None:
        raise Refused("There is no merge request to be merged.")
    return made


def _subject(state: RunState, intent: Merge) -> str:
    delivery = on_its_way(state, intent.delivery)
    return f"merge !{delivery.iid} into {delivery.begun.target} at {intent.commit[:8]}"


MERGE = Handler(subject=_subject, act=_merge, stands=_stands)
