"""What the log is told once a gate is decided, by people or by the clock."""

from __future__ import annotations

from agent.checks import Case
from agent.delivery import GateState
from agent.events import (
    DeliveryEnded,
    GateClosed,
    GateVoted,
    InstructionGiven,
    Payload,
    RunEnded,
    StatusChanged,
)
from agent.gate import Action, Click
from agent.ports import Write
from agent.run import Person, RunStatus
from agent.state import RunState


def approval(case: Case) -> Write:
    """One more voice for it; the last one that is needed opens the gate."""
    gate = case.gate.gate
    voted = GateVoted(gate=gate.id, by=case.by)
    if len(case.gate.votes) + 1 < gate.rule.approvals:
        return Write(payloads=(voted,))
    closed = GateClosed(gate=gate.id, outcome="approved", by=case.by)
    on = StatusChanged(status=RunStatus.DELIVERING, reason=f"Approved by @{case.by.name}.")
    return Write(payloads=(voted, closed, on), wake=True)


def rejection(case: Case, click: Click) -> Write:
    """The end of the run, unless it goes on with the reason as an instruction."""
    gate, by, reason = case.gate.gate, case.by, case.reason.strip()
    told = f"Rejected by @{by.name}: {reason}"
    closed = GateClosed(
        gate=gate.id,
        outcome="rejected",
        by=by,
        reason=reason,
        revise=click.revise,
        message=click.message,
    )
    ended = DeliveryEnded(number=gate.delivery, outcome="rejected", reason=told)
    if click.revise and unmerged_change(case.state, case.gate):
        given = InstructionGiven(text=reason, by=by)
        on = StatusChanged(status=RunStatus.QUEUED, reason=f"Revised for @{by.name}.")
        return Write(payloads=(closed, ended, given, on), wake=True)
    end = RunEnded(status=RunStatus.CANCELLED, reason=told)
    return Write(payloads=(closed, ended, end))


def given_before(case: Case, click: Click) -> bool:
    """Whether this very click has rejected it: what is to be revised for it may not have begun."""
    closed = case.gate.closed
    return closed is not None and closed.message == click.message != ""


def expiry(gate: GateState) -> Write:
    bound = gate.gate
    hours = bound.rule.expires / 3600
    told = (
        f"Nobody decided about `{bound.subject}` within {hours:.3g} hours, so the request has "
        f"expired. !{bound.iid} is kept as it is; press Ask again for a new request."
    )
    return Write(
        payloads=(
            GateClosed(gate=bound.id, outcome="expired", reason=told),
            DeliveryEnded(number=bound.delivery, outcome="expired", reason=told),
            RunEnded(status=RunStatus.ESCALATED, reason=told),
        )
    )


def moot(gate: GateState, reason: str) -> Write:
    """What it was made for is no longer so: the delivery looks afresh."""
    closed = GateClosed(gate=gate.gate.id, outcome="superseded", reason=reason)
    on = StatusChanged(status=RunStatus.DELIVERING, reason=reason)
    return Write(payloads=(closed, on), wake=True)


def overtaken(gate: GateState, by: Person) -> tuple[Payload, ...]:
    """Somebody wants something else of the change before it was decided."""
    told = f"@{by.name} gave a new instruction."
    return (
        GateClosed(gate=gate.gate.id, outcome="superseded", by=by, reason=told),
        DeliveryEnded(number=gate.gate.delivery, outcome="superseded", reason=told),
    )


def dropped(state: RunState, reason: str) -> tuple[Payload, ...]:
    """Of a run that ended with something still on its way: it is begun afresh."""
    gate, delivery = state.gate, state.delivery
    if delivery is None:
        return ()
    ended = DeliveryEnded(number=delivery.number, outcome="superseded", reason=reason)
    if gate is None:
        return (ended,)
    return (GateClosed(gate=gate.gate.id, outcome="superseded", reason=reason), ended)


def unmerged_change(state: RunState, gate: GateState) -> bool:
    """Whether there is a branch of the run's own that can still be worked on."""
    number = gate.gate.delivery
    begun = next((d.begun for d in state.deliveries if d.number == number), None)
    return gate.gate.action is Action.MERGE and (begun is None or begun.kind == "change")
