"""A person takes a run's branch and merge request over."""

from __future__ import annotations

from agent.errors import Conflict, Refused
from agent.events import StopAsked, TakenOver
from agent.intents import HandOver
from agent.ports import ForgeReader, Store, Write
from agent.run import ENDED, WAITING, Person, Run, RunStatus
from agent.state import RunState, fold
from agent.succession import still_owns


async def taken_over(
    store: Store, forge: ForgeReader, run: Run, by: Person, message: str = ""
) -> Run:
    """By somebody who may. What was asked twice is done once."""
    await still_owns(store, run)
    state = fold(await store.events(run.id))
    if state.taken_over is None:
        await _take(store, forge, state, TakenOver(by=by, message=message))
    elif state.taken_over.by.id != by.id:
        raise Refused(f"@{state.taken_over.by.name} has taken this over already.")
    stop = StopAsked(by=by, how="take over", message=message)
    return await store.ask_stop(run.id, stop, actor=by.id)


async def _take(store: Store, forge: ForgeReader, state: RunState, taken: TakenOver) -> None:
    made = state.merge_request
    if made is None or made.iid is None:
        raise Refused("This run has no merge request that you could take over.")
    if state.status not in ENDED | WAITING | {RunStatus.WATCHING}:
        raise Refused("This run is at work. Stop it first; what it has made is kept.")
    request = await forge.merge_request(state.request.project, made.iid)
    if request.state != "opened":
        raise Refused(f"!{made.iid} is {request.state}; there is nothing left to take over.")
    write = Write(payloads=(taken,), intents=(HandOver(round=state.rounds),))
    try:
        await store.write(state.run, write, actor=taken.by.id, expect_seq=state.seq)
    except Conflict as error:
        told = "Something has just happened to this run, so nothing was done. Look, and try again."
        raise Refused(told) from error
