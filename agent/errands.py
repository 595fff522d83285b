"""The agent's share of a night: runs that answer to programs, since nobody is there to ask."""

from __future__ import annotations

from agent.errors import Refused
from agent.events import CheckpointTaken
from agent.work import Case, Work


async def refusals(work: Work) -> tuple[str, ...]:
    """Why what an errand has come to is not accepted; nothing for all other runs."""
    errand, checkpoint = work.state.errand, work.state.checkpoint
    if errand is None or checkpoint is None:
        return ()
    if work.state.followups:
        return ()  # people have said at the merge request what they want instead
    if work.acceptance is None:
        raise Refused("Nothing here can tell whether an errand of the night was done.")
    made = await work.journal.body(checkpoint.patch)
    case = Case(
        errand=errand,
        project=work.project,
        base=work.base,
        branch=work.branch,
        started=await _started(work),
        made=made.decode("utf-8", "surrogateescape"),
    )
    return tuple(await work.acceptance(case))


async def _started(work: Work) -> str:
    """The patch that the run was born with."""
    for event in work.journal.events:
        match event.payload:
            case CheckpointTaken() as taken if work.state.errand and work.state.errand.tree:
                patch = await work.journal.body(taken.patch)
                return patch.decode("utf-8", "surrogateescape")
            case _:
                pass
    return ""
