"""The way of a change to its target, one look a wake-up; nothing waits in memory."""

from __future__ import annotations

from agent.branch import failures
from agent.delivery import Delivery
from agent.errors import ForgeUnavailable, GitFailed
from agent.events import (
    DeliveryBegun,
    EffectDone,
    GateClosed,
    Payload,
    RunThawed,
    StatusChanged,
)
from agent.intents import OpenDelivery
from agent.pace import Pace
from agent.passage import Leave
from agent.run import RunStatus
from agent.stages.approach import approach
from agent.stages.conclude import back_to_work, continues, left
from agent.stages.keep import close, park
from agent.stages.landing import land
from agent.work import Hold, Lookout

HANDED = 60.0  #: seconds until a run whose effects are open looks whether they still are


def goes_on_delivering(work: Hold) -> bool:
    """Was the run set going for the sake of what is on its way?"""
    state = work.state
    if state.interrupted is not None:
        return False  # a freeze found it at work
    return state.status is RunStatus.QUEUED and state.delivery is not None


async def deliver(work: Hold, lookout: Lookout) -> None:
    """Parks the run, asks people, hands it to the effect plane, ends it, or sets it to work."""
    state, pace = work.state, lookout.pace
    run, delivery = state.run, state.delivery
    if await work.journal.pending():
        await park(work, HANDED, status=RunStatus.DELIVERING)
        return
    if delivery is None:
        await close(work, RunStatus.ESCALATED, "Nothing is on its way to a branch any more.")
        return
    if state.waiting_followups and continues(delivery):
        pace.forget(run)
        await back_to_work(work, delivery)
        return
    if (seconds := pace.left(run)) > 0:
        await park(work, seconds, status=RunStatus.DELIVERING)
        return
    pace.asks(run)
    try:
        await _look(work, lookout, delivery)
    except ForgeUnavailable as error:
        await _wait(work, delivery, pace, str(error), at_least=error.retry_after or 0.0)
    except GitFailed as error:
        await _wait(work, delivery, pace, str(error))
    if work.state.status is not RunStatus.DELIVERING:
        pace.forget(run)


async def _look(work: Hold, lookout: Lookout, delivery: Delivery) -> None:
    if delivery.iid is None and delivery.merged is None:
        wanted = OpenDelivery(delivery=delivery.number)
        problem = failures(work).get(wanted.key(work.state.run))
        if problem is not None:
            await left(work, delivery, Leave(reason=problem))
        else:
            await work.journal.write(intents=[wanted])
        return
    look = approach if delivery.merged is None else land
    waits = await look(work, lookout, delivery, _waited(work))
    if waits is not None:
        at_least = 0.0
        if waits.step.until is not None:
            at_least = (waits.step.until - work.clock.now()).total_seconds()
        patient = waits.step.until is not None
        reason, news = waits.step.reason, waits.news
        await _wait(work, delivery, lookout.pace, reason, *news, at_least=at_least, patient=patient)


async def _wait(
    work: Hold,
    delivery: Delivery,
    pace: Pace,
    reason: str,
    *news: Payload,
    at_least: float = 0.0,
    patient: bool = False,
) -> None:
    """`patient`: what is waited for has an end of its own."""
    waited, limit = _waited(work), work.state.limits.pipeline_seconds
    if waited >= limit and not patient:
        told = f"This was waited for {limit / 60:.0f} minutes, and no longer: {reason}"
        await left(work, delivery, Leave(reason=told), *news)
        return
    pause = max(pace.next(waited), at_least)
    if not patient:
        pause = min(pause, max(limit - waited, 1.0))
    if reason != work.state.reason:
        news = (*news, StatusChanged(status=RunStatus.DELIVERING, reason=reason))
    await park(work, pause, *news, status=RunStatus.DELIVERING)


def _waited(work: Hold) -> float:
    """Seconds since something last came of it, or people set it going."""
    for event in reversed(work.journal.events):
        match event.payload:
            case DeliveryBegun() | EffectDone() | GateClosed() | RunThawed():
                return (work.clock.now() - event.at).total_seconds()
            case StatusChanged(status=RunStatus.QUEUED):
                return (work.clock.now() - event.at).total_seconds()
            case _:
                pass
    return 0.0
