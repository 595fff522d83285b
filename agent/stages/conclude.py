"""How a delivery ends, and what becomes of what people said to it meanwhile."""

from __future__ import annotations

from typing import Literal

from agent.delivery import Delivery
from agent.events import DeliveryEnded, GateClosed, InstructionTaken, Payload, StatusChanged
from agent.passage import Done, Leave
from agent.run import Request, RunStatus, ThreadMessage
from agent.stages.keep import close, last_word
from agent.state import Followup
from agent.work import Hold


async def delivered(work: Hold, delivery: Delivery, step: Done) -> None:
    """Tells what came after the merge, too."""
    places = [d.environment for d in delivery.deployments if d.job.status == "success"]
    what = f"Merged !{delivery.iid} into {delivery.begun.target}"
    parts = [f"{what} as {delivery.merged[:8]}" if delivery.merged else what, step.told]
    parts += [f"deployed to {place}" for place in places]
    parts += step.unreached
    reason = "; ".join(part for part in parts if part) + "."
    ended = DeliveryEnded(
        number=delivery.number, outcome="delivered", reason=reason, unreached=step.unreached
    )
    await _end(work, delivery, RunStatus.SUCCEEDED, ended)


async def left(work: Hold, delivery: Delivery, step: Leave, *news: Payload) -> None:
    """People have to look at it."""
    outcome = "expired" if step.outcome == "expired" else "superseded"
    news = (*news, *superseded(work, step.reason, outcome))
    ended = DeliveryEnded(number=delivery.number, outcome=step.outcome, reason=step.reason)
    await _end(work, delivery, RunStatus.ESCALATED, ended, news)


def superseded(
    work: Hold, reason: str, outcome: Literal["superseded", "expired"] = "superseded"
) -> tuple[Payload, ...]:
    """Closes the gate that is open, if one is."""
    gate = work.state.gate
    return (GateClosed(gate=gate.gate.id, outcome=outcome, reason=reason),) if gate else ()


async def back_to_work(work: Hold, delivery: Delivery) -> None:
    """Somebody wants something else: what was shown to people does not stand any more."""
    told = "Somebody added to the request, so the change will be another one."
    ended = DeliveryEnded(number=delivery.number, outcome="superseded", reason=told)
    on = StatusChanged(status=RunStatus.WORKING)
    await work.journal.write(*superseded(work, told), ended, on, wake=True)


def continues(delivery: Delivery) -> bool:
    """Can the run still add to what is delivered?"""
    return delivery.begun.kind == "change" and delivery.merged is None


async def _end(
    work: Hold,
    delivery: Delivery,
    status: RunStatus,
    ended: DeliveryEnded,
    news: tuple[Payload, ...] = (),
) -> None:
    reason = ended.reason
    if continues(delivery):
        await close(work, status, reason, *news, ended, ours=ended.outcome != "superseded")
        return
    taken = await _on_their_own(work)
    await work.journal.write(*news, *taken, ended, await last_word(work, status, reason))
    if taken := await _on_their_own(work):  # it came while the end was being written
        await work.journal.write(*taken)


async def _on_their_own(work: Hold) -> list[Payload]:
    """What people said after the merge becomes runs of its own, once each."""
    await work.journal.refresh()
    waiting = work.state.waiting_followups
    for followup in waiting:
        await _spawn(work, followup)
    return [InstructionTaken(given=each.seq, step=work.state.calls) for each in waiting]


async def _spawn(work: Hold, followup: Followup) -> None:
    old, given = work.state.request, followup.given
    message = given.message or f"{work.state.run}-{followup.seq}"
    request = Request(
        text=given.text,
        project=old.project,
        base_branch=old.base_branch,
        requester=given.by,
        thread=old.thread,
        message=message,
        context=(ThreadMessage(author=old.requester.name, text=old.text),),
    )
    thread = old.thread
    key = f"{thread.team}:{thread.channel}:{message}"
    await work.journal.spawn(key, request, work.project.limits)
