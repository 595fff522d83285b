"""What a run wants done to the world outside.

A worker only proposes: it stores an intent in the transaction that changes the run. The
effect plane (`agent.effects`), which alone holds the write credential, derives project,
branch and text from the run's own record and carries the intent out once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.events import EffectKind
from agent.gate import GateId
from agent.run import CommitSha, RunId


@dataclass(frozen=True, kw_only=True)
class Push:
    """Move the run's branch to a commit of the vault. `expected` is where the branch stood when
    the run last saw it; None: it does not exist yet."""

    commit: CommitSha
    expected: CommitSha | None = None

    def key(self, run: RunId) -> str:
        return f"{run}:push:{self.commit}"


@dataclass(frozen=True, kw_only=True)
class PublishMergeRequest:
    """Open the run's one draft merge request, or bring its description up to date."""

    commit: CommitSha

    def key(self, run: RunId) -> str:
        return f"{run}:merge_request:{self.commit}"


@dataclass(frozen=True, kw_only=True)
class LinkBack:
    """Leave one note on the issue or merge request that the request named."""

    target: Literal["issue", "merge_request"]
    iid: int

    def key(self, run: RunId) -> str:
        return f"{run}:note:{self.target}:{self.iid}"


@dataclass(frozen=True, kw_only=True)
class RetryJob:
    """Run a red job once more: the one retry that a flake or a lost runner gets."""

    job: int
    commit: CommitSha

    def key(self, run: RunId) -> str:
        return f"{run}:retry_job:{self.job}"


@dataclass(frozen=True, kw_only=True)
class OpenDelivery:
    """Open the merge request of a promotion or of a revert, once."""

    delivery: int

    def key(self, run: RunId) -> str:
        return f"{run}:open_delivery:{self.delivery}"


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Merge the merge request of a delivery at exactly this head. `gate`: the approved one;
    None where the rule asks nobody."""

    delivery: int
    commit: CommitSha
    gate: GateId | None = None

    def key(self, run: RunId) -> str:
        return f"{run}:merge:{self.delivery}:{self.commit}"


@dataclass(frozen=True, kw_only=True)
class PlayJob:
    """Start a job that deploys; `gate`: the approved one, None where the rule asks nobody."""

    delivery: int
    job: int
    environment: str
    gate: GateId | None = None

    def key(self, run: RunId) -> str:
        return f"{run}:play_job:{self.job}"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Answer the comments of one discussion and resolve it. `commit`: what was done for them;
    None: the model answered in words."""

    discussion: str
    note: int  #: the newest one that is answered
    commit: CommitSha | None = None

    def key(self, run: RunId) -> str:
        return f"{run}:reply:{self.discussion}:{self.note}"


@dataclass(frozen=True, kw_only=True)
class HandOver:
    """Give the merge request to the one who took it over, and call it ready."""

    round: int  #: of the run

    def key(self, run: RunId) -> str:
        return f"{run}:hand_over:{self.round}"


Intent = (
    Push
    | PublishMergeRequest
    | LinkBack
    | RetryJob
    | OpenDelivery
    | Merge
    | PlayJob
    | Reply
    | HandOver
)

KIND: dict[type, EffectKind] = {
    Push: EffectKind.PUSH,
    PublishMergeRequest: EffectKind.OPEN_MERGE_REQUEST,
    LinkBack: EffectKind.NOTE,
    RetryJob: EffectKind.RETRY_JOB,
    OpenDelivery: EffectKind.OPEN_DELIVERY,
    Merge: EffectKind.MERGE,
    PlayJob: EffectKind.PLAY_JOB,
    Reply: EffectKind.REPLY,
    HandOver: EffectKind.HAND_OVER,
}
