"""Whether branch and merge request are still the run's own."""

from __future__ import annotations

from dataclasses import dataclass

from agent.errors import NotFound
from agent.events import Committed
from agent.ports import MergeRequest
from agent.run import RunStatus
from agent.work import Hold, Lookout


@dataclass(frozen=True, kw_only=True)
class Lost:
    """Why the run has nothing more to do there."""

    status: RunStatus
    reason: str


async def taken_over(work: Hold, lookout: Lookout, commit: Committed) -> Lost | None:
    """People may do what they like with a merge request; the run then lets go of it."""
    return await lost(work, lookout, commit, await own_request(work, lookout))


async def own_request(work: Hold, lookout: Lookout) -> MergeRequest | None:
    """The run's merge request as it is now; None when there is none any more."""
    made = work.state.merge_request
    if made is None or made.iid is None:
        return None
    try:
        return await lookout.forge.merge_request(work.state.request.project, made.iid)
    except NotFound:
        return None


async def lost(
    work: Hold, lookout: Lookout, commit: Committed, request: MergeRequest | None
) -> Lost | None:
    """What the merge request says of who has branch and merge request now."""
    state = work.state
    made, project, branch = state.merge_request, state.request.project, work.journal.run.branch
    if made is None:
        return None
    name = made.result or f"!{made.iid}"
    if request is None:
        return _lost(f"The merge request {name} is gone.")
    match request.state:
        case "merged":
            told = f"{name} was merged meanwhile; its pipeline is not watched any more."
            return Lost(status=RunStatus.SUCCEEDED, reason=told)
        case "closed":
            return _lost(f"{name} was closed meanwhile.")
        case "opened" | "locked":
            pass
    target = state.workspace.branch if state.workspace else request.target_branch
    if request.target_branch != target:
        return _lost(f"{name} was retargeted from {target} to {request.target_branch}.")
    if request.sha == commit.commit:
        return None
    # GitLab tells its merge requests of a push up to 40 s later; git itself knows at once
    head = await work.vault.remote_head(await lookout.origin(project), branch)
    if head == commit.commit:
        return None
    if head is None:
        return _lost(f"The branch {branch} was deleted.")
    return _lost(
        f"Somebody else pushed {head[:8]} to the branch {branch}, which stood at "
        f"{commit.commit[:8]}. Nothing was overwritten."
    )


def _lost(what: str) -> Lost:
    told = f"{what} The run has stopped there and leaves it to you."
    return Lost(status=RunStatus.ESCALATED, reason=told)
