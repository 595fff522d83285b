"""What a run wants done to the world outside.

A worker only proposes: it stores an intent in the transaction that changes the run. The
effect plane (`agent.effects`), which alone holds the write credential, derives project,
branch and text from the run's own record and carries the intent out once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.events import EffectKind
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


Intent = Push | PublishMergeRequest | LinkBack | RetryJob

KIND: dict[type, EffectKind] = {
    Push: EffectKind.PUSH,
    PublishMergeRequest: EffectKind.OPEN_MERGE_REQUEST,
    LinkBack: EffectKind.NOTE,
    RetryJob: EffectKind.RETRY_JOB,
}
