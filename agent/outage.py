"""A GitLab that does not answer when a run needs its code: the run waits, and holds nobody up."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from agent.errors import ForgeUnavailable
from agent.events import (
    Committed,
    ModelAnswered,
    RunEnded,
    RunEvent,
    StatusChanged,
    TestsRan,
    WorkspaceReady,
)
from agent.journal import Journal
from agent.ports import Clock
from agent.run import RunStatus

log = logging.getLogger(__name__)
T = TypeVar("T")

PAUSES = (1.0, 4.0, 15.0)  #: seconds in which a worker asks again itself
AGAIN = 120.0  #: seconds until a worker takes the run once more
TRIES = 30


async def patient(clock: Clock, project: str, ask: Callable[[], Awaitable[T]]) -> T:
    """With a GitLab that does not answer for a moment."""
    for pause in PAUSES:
        try:
            return await ask()
        except ForgeUnavailable as error:
            log.warning("fetch_waits", extra={"project": project, "problem": str(error)})
            await clock.sleep(error.retry_after or pause)
    return await ask()


async def put_off(journal: Journal, outage: ForgeUnavailable) -> None:
    """Lets go of the run until GitLab is asked again; raises the outage when that was in vain for
    an hour. The tries are counted in the log, so that they survive a restart."""
    number = tries(journal.events) + 1
    if number > TRIES:
        raise outage
    seconds = max(AGAIN, outage.retry_after or 0.0)
    told = StatusChanged(
        status=RunStatus.QUEUED,
        reason=f"GitLab is not answering, trying again in {_time(seconds)}, {number} of {TRIES}; "
        "nothing is lost.",
        put_off=journal.state.status,
    )
    await journal.write(told, wake=True, wake_after=round(seconds, 3))


def tries(events: Iterable[RunEvent]) -> int:
    """How often the run was put off since it last came forward."""
    count, queued = 0, True
    for event in events:
        match event.payload:
            case StatusChanged(status=status, put_off=before):
                if before:
                    count += 1
                elif status is RunStatus.QUEUED and not queued:  # else it is told what it waits for
                    count = 0
                queued = status is RunStatus.QUEUED
            case WorkspaceReady() | ModelAnswered() | TestsRan() | Committed() | RunEnded():
                count = 0
            case _:
                pass
    return count


def _time(seconds: float) -> str:
    return f"{round(seconds)} s" if seconds < 60 else f"{round(seconds / 60)} min"
