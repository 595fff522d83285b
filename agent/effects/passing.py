"""What lets a merge or a deployment pass: checked again at the last moment, from the log and
live."""

from __future__ import annotations

from agent.checks import still_stands
from agent.delivery import Delivery, GateState
from agent.difference import read_patch
from agent.effects.context import EffectContext
from agent.errors import ForgeUnavailable, Refused
from agent.events import RunEvent
from agent.gate import GateId, Rule, TargetRule
from agent.policy import breaches
from agent.project import ProjectSettings
from agent.run import CommitSha, RunStatus
from agent.state import RunState


def on_its_way(state: RunState, number: int) -> Delivery:
    """The delivery that an effect belongs to."""
    delivery = state.delivery
    if delivery is None or delivery.number != number:
        raise Refused("This delivery has ended, so nothing more is done for it.")
    if state.status is not RunStatus.DELIVERING:
        told = state.status.replace("_", " ")
        raise Refused(f"The run is {told} by now, so nothing more is done for it.")
    if state.stop is not None:
        raise Refused(f"@{state.stop.by.name} has stopped the run, so nothing more is done for it.")
    return delivery


async def not_stopped(context: EffectContext, state: RunState) -> None:
    """Somebody may have stopped it since the log was read."""
    status = (await context.store.run(state.run)).status
    if status is not RunStatus.DELIVERING:
        raise Refused(f"The run is {status.replace('_', ' ')} by now, so nothing more is done.")


def approved(
    state: RunState,
    gate: GateId,
    delivery: Delivery,
    commit: CommitSha,
    *,
    environment: str = "",
    job: int = 0,
) -> GateState:
    """Bound to exactly this."""
    found = next((each for each in state.gates if each.gate.id == gate), None)
    if found is None or not found.approved:
        raise Refused("This has not been approved, or the approval was taken back.")
    bound = found.gate
    wanted = (delivery.number, commit, environment, job)
    if (bound.delivery, bound.commit, bound.environment, bound.job) != wanted:
        raise Refused("What was approved is something else.")
    return found


async def stands_still(
    context: EffectContext, events: tuple[RunEvent, ...], state: RunState, gate: GateState
) -> None:
    """Raises `Refused`, or what is `Unavailable` where it could not be checked just now."""
    await _still_linked(context, state, gate)
    said = await still_stands(
        events,
        state,
        gate,
        forge=context.reader,
        project=context.projects(state.request.project),
        now=context.now(),
    )
    if said is None:
        return
    if said.unsure:
        raise ForgeUnavailable(said.sentence)
    raise Refused(said.sentence)


async def _still_linked(context: EffectContext, state: RunState, gate: GateState) -> None:
    """Somebody may have been linked to another account since, or to none."""
    holder, team = context.holder, state.request.thread.team
    for voter in gate.votes if holder else ():
        assert holder is not None
        if voter.gitlab_id is None or await holder(team, voter.gitlab_id) != voter.id:
            raise Refused(
                f"@{voter.name}, who approved this, is not linked to that GitLab account any "
                "more, so the approval does not count. Ask again for a new one."
            )


def settled(context: EffectContext, state: RunState) -> ProjectSettings:
    project = context.projects(state.request.project)
    if project is None:
        raise Refused(f"`{state.request.project}` is not among the projects any more.")
    return project


def nobody_is_asked(context: EffectContext, rule: Rule, subject: str) -> None:
    if rule.approvals:
        raise Refused(f"Somebody has to approve `{subject}` by now: its rule was changed.")
    if frozen := rule.frozen_until(context.now()):
        raise Refused(f"`{subject}` is frozen until {frozen:%Y-%m-%d %H:%M %Z}.")


async def within_limits(
    context: EffectContext, state: RunState, rule: TargetRule, iid: int
) -> None:
    """Of a merge that nobody is asked about."""
    if any(each.violations for each in state.lifted):
        raise Refused("The change weakens its own checks, so people have to approve it.")
    patch = await context.reader.difference(state.request.project, iid)
    found = breaches(rule.limits, read_patch(patch.decode("utf-8", "surrogateescape")))
    if found:
        where = f"`{found[0].path}`: " if found[0].path else ""
        raise Refused(f"The change is beyond what merges itself: {where}{found[0].detail}.")
