"""From a merge request to its merge: what is looked at, and what is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from agent.branch import failures
from agent.delivery import Delivery, GateState
from agent.errors import ForgeRejected, NotFound
from agent.events import Committed, DeliveryBegun, EffectDone, EffectKind, Payload, TargetSeen
from agent.gate import GateId, TargetRule
from agent.intents import Merge
from agent.passage import Ask, Asked, Bound, Go, Landed, Leave, Wait, obstacle, passage, unchecked
from agent.pipeline import Judgement, Pipeline, Verdict
from agent.policy import breaches
from agent.ports import MergeRequest
from agent.run import CommitSha, RunStatus
from agent.stages.conclude import left, superseded
from agent.stages.gates import Change, Showing, change_of, open_gate
from agent.watch import judge
from agent.work import Hold, Lookout

SUPERSEDED = "Superseded:"  #: how the effect plane begins to tell of another head
NAMED = 3  #: broken limits in a sentence


@dataclass(frozen=True, kw_only=True)
class Waits:
    step: Wait
    news: tuple[Payload, ...] = ()


def started(work: Hold, commit: Committed) -> DeliveryBegun | None:
    """The way of the run's own change; None where merging is left to people."""
    state = work.state
    made, target = state.merge_request, state.workspace.branch if state.workspace else ""
    rule = work.project.target(target)
    if rule is None or made is None or made.iid is None:
        return None
    return DeliveryBegun(
        number=len(state.deliveries) + 1,
        kind="change",
        source=work.journal.run.branch,
        target=target,
        iid=made.iid,
        url=made.url,
        commit=commit.commit,
        promote=rule.promote,
    )


async def approach(work: Hold, lookout: Lookout, delivery: Delivery, waited: float) -> Waits | None:
    project, begun = work.state.request.project, delivery.begun
    assert delivery.iid is not None
    try:
        request = await lookout.forge.merge_request(project, delivery.iid)
    except NotFound:
        await left(work, delivery, Leave(reason=f"The merge request !{delivery.iid} is gone."))
        return None
    rule = work.project.target(begun.target)
    foreign = await _foreign(work, lookout, delivery, request)
    match obstacle(delivery, request, rule, foreign=foreign):
        case Landed(commit=merged):
            await _landed(work, lookout, delivery, request, merged)
            return None
        case Leave() as step:
            await left(work, delivery, step)
            return None
        case Wait() as step:
            return Waits(step=step)
        case None:
            assert rule is not None
    head = delivery.commit if begun.kind == "change" else request.sha
    if head is None:
        return Waits(step=Wait(reason=f"GitLab does not know the head of !{request.iid} yet."))
    if problem := failures(work).get(_merge(delivery, head).key(work.state.run)):
        outcome = "superseded" if problem.startswith(SUPERSEDED) else "left"
        await left(work, delivery, Leave(reason=problem, outcome=outcome))
        return None
    pipeline, judged = judge(await lookout.forge.pipelines(project, sha=head), head, waited)
    match unchecked(judged):
        case Leave() as step:
            await left(work, delivery, step)
            return None
        case Wait() as step:
            return Waits(step=step)
        case None:
            pass
    return await _pass(work, lookout, rule, delivery, request, head, pipeline)


async def _pass(
    work: Hold,
    lookout: Lookout,
    rule: TargetRule,
    delivery: Delivery,
    request: MergeRequest,
    head: CommitSha,
    pipeline: Pipeline | None,
) -> Waits | None:
    """All is green: merge, or ask."""
    if request.target_changed:
        told = f"GitLab still works out what !{request.iid} changes."
        return Waits(step=Wait(reason=told))
    try:
        change = await change_of(lookout.forge, work.state.request.project, request.iid)
    except ForgeRejected as error:
        told = f"What !{request.iid} changes cannot be shown, so it is left to people: {error}"
        await left(work, delivery, Leave(reason=told))
        return None
    policy = work.project.settled(delivery.begun.target)
    assert policy is not None
    bound = Bound(
        commit=head,
        diff=change.digest,
        source=request.source_branch,
        target=delivery.begun.target,
        policy=policy,
    )
    gate = newest_gate(work, delivery)
    why = "" if rule.rule.approvals else _added(delivery, head) or beyond(work, rule, change)
    match passage(rule.rule, gate, bound, work.clock.now(), why=why):
        case Leave() as step:
            await left(work, delivery, step)
        case Wait() as step:
            return Waits(step=step)
        case Asked():
            await work.journal.move(RunStatus.WAITING_FOR_APPROVAL)
        case Ask() if not work.state.request.thread.channel:
            told = f"!{request.iid} is ready, and waits at GitLab for people: nobody is asked for "
            told += "what a night did."
            await left(work, delivery, Leave(reason=told))
        case Ask() as ask:
            showing = Showing(delivery=delivery, request=request, change=change, pipeline=pipeline)
            await open_gate(work, lookout, ask, bound, showing)
        case Go(gate=gate_id):
            stands = await standing(work, lookout, delivery)
            await work.journal.write(stands, intents=[_merge(delivery, head, gate_id)])
    return None


def _added(delivery: Delivery, head: CommitSha) -> str:
    """Anybody who may push can push to the branch of a revert."""
    if delivery.begun.kind != "revert" or head == delivery.commit:
        return ""
    return f"Its branch stands at {head[:8]}, which may be more than the revert that I made."


def beyond(work: Hold, rule: TargetRule, change: Change) -> str:
    """Why a change does not merge itself though nobody has to be asked; empty: it does."""
    if any(each.violations for each in work.state.lifted):
        return "A person has accepted that it weakens its own checks."
    found = breaches(rule.limits, change.files)
    if not found:
        return ""
    told = [f"`{v.path}`: {v.detail}" if v.path else v.detail for v in found[:NAMED]]
    more = f", and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f"It is beyond what merges itself: {'; '.join(told)}{more}."


def newest_gate(
    work: Hold, delivery: Delivery, environment: str = "", job: int = 0
) -> GateState | None:
    for each in reversed(work.state.gates):
        gate = each.gate
        if (gate.delivery, gate.environment, gate.job) == (delivery.number, environment, job):
            return each
    return None


async def standing(work: Hold, lookout: Lookout, delivery: Delivery) -> TargetSeen:
    """How the target stands before the merge."""
    target = delivery.begun.target
    try:
        newest = await lookout.forge.branch_pipeline(work.state.request.project, target)
    except ForgeRejected:
        newest = None
    if newest is not None:
        pipeline, judged = judge([newest], newest.sha, 0.0)
    else:
        told = f"No pipeline of `{target}` has finished yet."
        pipeline, judged = None, Judgement(verdict=Verdict.ABSENT, sentence=told)
    return TargetSeen(delivery=delivery.number, merged=None, pipeline=pipeline, judgement=judged)


async def _landed(
    work: Hold,
    lookout: Lookout,
    delivery: Delivery,
    request: MergeRequest,
    merged: CommitSha,
) -> None:
    """It is told as what it is: done already, by somebody else."""
    who = "somebody"
    if request.merged_by is not None:
        try:
            who = f"@{await lookout.forge.username(request.merged_by)}"
        except ForgeRejected:
            pass
    head = request.sha or merged
    done = EffectDone(
        key=_merge(delivery, head).key(work.state.run),
        effect=EffectKind.MERGE,
        result=f"!{request.iid} was merged by {who} meanwhile",
        url=request.url,
        iid=request.iid,
        found=True,
        commit=merged,
    )
    closed = superseded(work, f"{done.result}.")
    await work.journal.write(*closed, done, status=RunStatus.DELIVERING, wake=True)


def _merge(delivery: Delivery, head: CommitSha, gate: GateId | None = None) -> Merge:
    return Merge(delivery=delivery.number, commit=head, gate=gate)


async def _foreign(work: Hold, lookout: Lookout, delivery: Delivery, request: MergeRequest) -> str:
    """Whose the head of the run's own change is now, if it is not the run's."""
    ours, branch = delivery.commit, delivery.begun.source
    if delivery.begun.kind != "change" or request.state != "opened" or request.sha == ours:
        return ""
    # GitLab tells its merge requests of a push up to 40 s later; git itself knows at once
    origin = await lookout.origin(work.state.request.project)
    head = await work.vault.remote_head(origin, branch)
    if head == ours or ours is None:
        return ""
    if head is None:
        return f"The branch {branch} was deleted. Nothing was merged."
    return (
        f"Somebody else pushed {head[:8]} to the branch {branch}, which stood at {ours[:8]}. "
        "Nothing was overwritten, and nothing was merged."
    )
