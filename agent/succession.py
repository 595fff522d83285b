"""Whose a branch is, where runs of several nights go on with one after the other."""

from __future__ import annotations

from agent.errors import Refused
from agent.events import EffectKind
from agent.ports import Store
from agent.run import ENDED, Run
from agent.state import fold


async def owner_of(store: Store, run: Run) -> Run:
    """The newest run on the branch of this one, but for those that ended before they could push
    there: what stands on it is still that of the run before."""
    if run.request.upkeep is None:
        return run
    for each in await store.runs_of_thread(run.request.thread):
        if each.id == run.id:
            break
        if each.branch == run.branch and (each.status not in ENDED or await _pushed(store, each)):
            return each
    return run


async def still_owns(store: Store, run: Run) -> None:
    """Raises `Refused` where a later run goes on with its branch."""
    owner = await owner_of(store, run)
    if owner.id != run.id:
        raise Refused(f"Run {owner.id}, of a later night, goes on with this run's branch.")


async def _pushed(store: Store, run: Run) -> bool:
    state = fold(await store.events(run.id))
    return any(done.effect is EffectKind.PUSH for done in state.done_effects)
