"""What stands at GitLab beside what the logs of runs say. Pure: nothing is asked or done here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from agent.ports import MergeRequest
from agent.run import ENDED, RunId, RunStatus
from agent.state import RunState

PREFIX = "agent/"  #: of every branch of a run's own
_BRANCH = re.compile(r"agent/([1-9]\d{0,17})(?:-[0-9a-f]{1,8})?")
_DELIVERY = "<!-- journeyman-delivery:"
_LOOKS = frozenset(
    {
        RunStatus.WATCHING,
        RunStatus.DELIVERING,
        RunStatus.WAITING_FOR_APPROVAL,
        RunStatus.WAITING_FOR_ANSWER,
    }
)

Turn = Literal["merged", "closed", "retargeted"]


@dataclass(frozen=True, kw_only=True)
class EffectsAsleep:
    """The branch stands, the merge request is still to be opened."""

    state: RunState


@dataclass(frozen=True, kw_only=True)
class BranchLeft:
    """The run has ended, and its branch has no merge request that the log knows of."""

    state: RunState


@dataclass(frozen=True, kw_only=True)
class Turned:
    """Somebody has done this to the merge request while the run watches it or waits."""

    state: RunState
    request: MergeRequest
    what: Turn


@dataclass(frozen=True, kw_only=True)
class Twice:
    """More than one merge request of the run's branch may be open: these, or one beside them."""

    state: RunState
    iids: frozenset[int]


Finding = EffectsAsleep | BranchLeft | Turned | Twice


def run_of(branch: str) -> RunId | None:
    """Whose it would be; another database may have made it, or a person."""
    found = _BRANCH.fullmatch(branch)
    return RunId(int(found[1])) if found else None


def compare(
    states: Sequence[RunState], branches: Collection[str], requests: Sequence[MergeRequest]
) -> Sequence[Finding]:
    """`requests` are our own ones, or some of them: nothing follows from one that is missing.
    The states were read after both."""
    standing = frozenset(branches)
    return [each for state in states for each in _of(state, standing, requests)]


def _of(
    state: RunState, branches: frozenset[str], requests: Sequence[MergeRequest]
) -> Iterator[Finding]:
    own = [
        each
        for each in requests
        if each.source_branch == state.branch and _DELIVERY not in each.description
    ]
    named = state.merge_request
    if named is None and not own and state.branch in branches:
        if state.status is RunStatus.PUBLISHING:
            yield EffectsAsleep(state=state)
        elif state.status in ENDED and state.request.follows is None:
            yield BranchLeft(state=state)
    iid = named.iid if named else None
    opened = [each for each in own if each.state == "opened"]
    if len(opened) > 1 or (iid is not None and any(each.iid != iid for each in opened)):
        yield Twice(state=state, iids=frozenset(each.iid for each in opened))
    delivered = any(each.iid == iid and each.merged for each in state.deliveries)
    # an end between then and now has told of what became of it, and it goes on in spite of that
    known = state.status is RunStatus.WAITING_FOR_ANSWER and state.shown_seq < state.end_seq
    if state.status not in _LOOKS or delivered or known:
        return
    for each in own:
        if each.iid == iid and (what := _turned(state, each)):
            yield Turned(state=state, request=each, what=what)


def _turned(state: RunState, request: MergeRequest) -> Turn | None:
    match request.state:
        case "merged" | "closed":
            return request.state
        case "opened" | "locked":
            target = state.workspace.branch if state.workspace else request.target_branch
            return None if request.target_branch == target else "retargeted"
