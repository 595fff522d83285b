"""Changes of a run that fit what its log says at that very moment."""

from __future__ import annotations

from collections.abc import Callable, Collection

from agent.decision import dropped
from agent.errors import Conflict, Refused
from agent.events import (
    InstructionGiven,
    Payload,
    QuestionAnswered,
    RunAccepted,
    RunEvent,
    StatusChanged,
    StopAsked,
    TakenOver,
)
from agent.onward import afresh
from agent.ports import Store, Write
from agent.run import ENDED, PARKED, Person, Run, RunId, RunStatus
from agent.state import RunState, fold
from agent.succession import still_owns

TRIES = 25  #: a run at work writes to its log all the time while somebody speaks to it

Change = Callable[[Run, RunState], tuple[Payload, ...]]


async def changed(
    store: Store, run: RunId, by: Person, change: Change, *, message: str = ""
) -> Run:
    """`message`: by which a person asked for it; what it brought about is not done twice. Raises
    `Refused`, also where the run does not keep still."""
    for _ in range(TRIES):
        row = await store.run(run)
        events = await store.events(run)
        if message in messages(events):
            return row
        payloads = change(row, fold(events))
        wake = any(isinstance(payload, StatusChanged) for payload in payloads)
        write = Write(payloads=payloads, wake=wake)
        try:
            row = await store.write(
                run, write, actor=by.id, expect={row.status}, expect_seq=row.seq
            )
        except Conflict:
            continue
        if row.status in PARKED:
            await store.hint(run)  # it sleeps, and nothing else would wake it now
        return row
    raise Refused("This run is changing all the time; say it again in a moment.")


async def set_going(store: Store, run: Run, by: Person, *, message: str = "") -> Run:
    """Sets a run that ended without success going again, from where it stood. Raises `Refused`.
    Whether the person may is for the caller to know."""
    await still_owns(store, run)

    def change(row: Run, state: RunState) -> tuple[Payload, ...]:
        if row.status is RunStatus.SUCCEEDED:
            raise Refused("This run is done. Mention me in its thread to ask for a change.")
        if row.status not in ENDED:
            raise Refused(f"This run is {row.status.replace('_', ' ')}; there is no need to.")
        why = f"Set going by @{by.name}."
        on = StatusChanged(status=RunStatus.QUEUED, reason=why, message=message)
        newest = state.deliveries[-1] if state.deliveries else None
        begun = afresh(newest) if newest else None
        return (*dropped(state, on.reason), *((begun,) if begun else ()), on)

    return await changed(store, run.id, by, change, message=message)


def messages(events: Collection[RunEvent]) -> set[str]:
    """Of everything that people have said to the run so far, from the request on."""
    said: set[str] = set()
    for event in events:
        match event.payload:
            case RunAccepted(request=request):
                said.add(request.message)
            case (
                InstructionGiven(message=message)
                | QuestionAnswered(message=message)
                | StopAsked(message=message)
                | StatusChanged(message=message)
                | TakenOver(message=message)
            ):
                said.add(message)
            case _:
                pass
    return said - {""}
