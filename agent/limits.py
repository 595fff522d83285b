"""The caps of a run, counted from its log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from agent.errors import LimitReached
from agent.events import ModelAnswered, RunClaimed, RunEnded, RunEvent, StatusChanged
from agent.run import PARKED, WAITING, Limits, RunStatus, Usage
from agent.state import RunState
from agent.work import Work

_PARKED = WAITING | PARKED | {RunStatus.QUEUED, RunStatus.PUBLISHING}


def check(work: Work) -> None:
    """Raises `LimitReached` before a model call that would begin beyond a cap."""
    used = spent(work.journal.events)
    now = work.clock.monotonic() - work.began
    used = replace(used, seconds=used.seconds + now)
    if reached := exceeded(used, work.state.limits):
        name, told = reached
        raise LimitReached(f"The run reached its limit of {told}.", limit=name)


def only_plan(state: RunState) -> bool:
    """Until people say more, after the plan."""
    return state.request.plan_only and state.rounds == 1


def exceeded(used: Usage, limits: Limits) -> tuple[str, str] | None:
    if used.steps >= limits.steps:
        return "steps", f"{limits.steps} steps"
    if used.tokens >= limits.tokens:
        return "tokens", f"{limits.tokens:,} tokens"
    if used.money >= limits.money > 0:
        return "money", f"${limits.money:.2f}"
    if used.seconds >= limits.seconds:
        return "time", f"{limits.seconds / 60:.0f} minutes of work"
    return None


def spent(events: Iterable[RunEvent]) -> Usage:
    """What was used since people last set the run going: each follow-up to a run that ended has
    the whole allowance again. `seconds` is the time that earlier workers held the run; waiting
    for people and for effects is not counted, nor is the present claim."""
    used, since, last = Usage(), None, None
    for event in events:
        match event.payload:
            case RunClaimed():
                if since is not None and last is not None:
                    used += Usage(seconds=(last - since).total_seconds())
                since = event.at
            case ModelAnswered() as answer:
                used += replace(answer.usage, seconds=0.0, steps=1)
            case RunEnded():
                used, since = Usage(), None
            case StatusChanged() as change if change.status in _PARKED and since is not None:
                used += Usage(seconds=(event.at - since).total_seconds())
                since = None
            case StatusChanged() as change if change.status not in _PARKED and since is None:
                since = event.at  # a run that watched goes on without a new claim
            case _:
                pass
        last = event.at
    return used
