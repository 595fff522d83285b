"""The way to the target: gates, the merge, deployments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.gate import Deed, Gate, GateId, Outcome
from agent.pipeline import Job, Judgement, Pipeline
from agent.run import CommitSha, Person


@dataclass(frozen=True, kw_only=True)
class DeliveryBegun:
    """The way of a merge request to its target. A promotion and a revert have merge requests of
    their own, which are still to be opened."""

    number: int  #: 1 for the first of the run
    kind: Literal["change", "promotion", "revert"]
    source: str
    target: str
    by: Person | None = None  #: who pressed the button
    iid: int | None = None
    url: str = ""
    commit: CommitSha | None = None
    merged: CommitSha | None = None  #: what has been merged before: only deployments are left
    reverts: CommitSha | None = None  #: the merge that a revert takes back
    promote: str = ""  #: where the rule of the target offers to bring it afterwards


@dataclass(frozen=True, kw_only=True)
class GateOpened:
    gate: Gate


@dataclass(frozen=True, kw_only=True)
class GateVoted:
    """One of several approvals that a gate needs."""

    gate: GateId
    by: Person


@dataclass(frozen=True, kw_only=True)
class GateRefused:
    """A click that decides nothing; `by` as far as it is known who it was."""

    gate: GateId
    by: Person
    deed: Deed
    check: str  #: name of the check that refused
    reason: str  #: a sentence, as the person was told
    message: str = ""  #: the click


@dataclass(frozen=True, kw_only=True)
class GateReminded:
    gate: GateId


@dataclass(frozen=True, kw_only=True)
class GateClosed:
    gate: GateId
    outcome: Outcome
    by: Person | None = None  #: None: the clock, or a new commit
    reason: str = ""  #: a sentence; of a rejection: the person's own words
    revise: bool = False  #: of a rejection: the run goes on with the reason as an instruction
    message: str = ""  #: of a rejection: the click


@dataclass(frozen=True, kw_only=True)
class TargetSeen:
    """The target branch's pipeline: the last one before the merge (`merged` is None), then the
    one of the merge. Stored when it changed."""

    delivery: int
    merged: CommitSha | None
    pipeline: Pipeline | None
    judgement: Judgement


@dataclass(frozen=True, kw_only=True)
class DeploymentSeen:
    """Stored when it changed: a job that deploys to an environment, and how far it is."""

    delivery: int
    environment: str
    job: Job
    url: str = ""  #: of the environment


@dataclass(frozen=True, kw_only=True)
class DeliveryEnded:
    """Nothing more is done for this delivery by itself."""

    number: int
    outcome: Literal["delivered", "left", "broken", "rejected", "expired", "superseded"]
    reason: str = ""  #: a sentence
    unreached: tuple[str, ...] = ()  #: environments that should have been, and why not
