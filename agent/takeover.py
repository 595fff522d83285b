"""A person takes a run's branch and merge request over."""

from __future__ import annotations

from agent.errors import Conflict, Refused
from agent.events import StopAsked, TakenOver
from agent.intents import HandOver
from agent.ports import Store, Write
from agent.run import ENDED, WAITING, Person, Run, RunStatus
from agent.state import fold


async def taken_over(store: Store, run: Run, by: Person) -> Run:
    """By somebody who may. What was asked twice is done once."""
    state = fold(await store.events(run.id))
    if state.taken_over is not None:
        if state.taken_over.by.id == by.id:
            return run
        raise Refused(f"@{state.taken_over.by.name} has taken this over already.")
    if state.merge_request is None:
        raise Refused("This run has no merge request that you could take over.")
    if state.status not in ENDED | WAITING | {RunStatus.WATCHING}:
        raise Refused("This run is at work. Stop it first; what it has made is kept.")
    taken = Write(payloads=(TakenOver(by=by),), intents=(HandOver(round=state.rounds),))
    try:
        await store.write(run.id, taken, actor=by.id, expect_seq=state.seq)
    except Conflict as error:
        told = "Something has just happened to this run, so nothing was done. Look, and try again."
        raise Refused(told) from error
    return await store.ask_stop(run.id, StopAsked(by=by, how="take over"), actor=by.id)
