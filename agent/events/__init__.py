"""The facts of a run's log.

A run is its log: what people see (thread, pages, metrics, export) is computed from these
records and can be computed again. Each payload class is one kind of fact; its name in
snake case is the kind that the database stores.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from agent.events.course import (
    Attempt,
    ErrandGiven,
    Escalation,
    RunAccepted,
    RunClaimed,
    RunEnded,
    RunFrozen,
    RunThawed,
    StatusChanged,
    StopAsked,
)
from agent.events.delivery import (
    DeliveryBegun,
    DeliveryEnded,
    DeploymentSeen,
    GateClosed,
    GateOpened,
    GateRefused,
    GateReminded,
    GateVoted,
    TargetSeen,
)
from agent.events.outside import (
    EffectDone,
    EffectFailed,
    EffectIntended,
    EffectKind,
    FixStarted,
    JobRehearsed,
    MismatchFound,
    PipelineSeen,
    PipelineTriaged,
)
from agent.events.people import (
    ChangeJudged,
    HoldLifted,
    HoldRefused,
    HoldReminded,
    InstructionGiven,
    InstructionTaken,
    PushHeld,
    QuestionAnswered,
    QuestionAsked,
    ReviewNote,
    TakenOver,
)
from agent.events.work import (
    CheckpointTaken,
    CodeRetrieved,
    Committed,
    ContextCompacted,
    DependenciesReady,
    FileChange,
    HealStarted,
    ModelAnswered,
    ModelAsked,
    ModelFailed,
    PlanMade,
    RetrievedPlace,
    TestsRan,
    ToolReturned,
    ToolStarted,
    WorkspaceReady,
)
from agent.run import RunId

__all__ = [
    "Attempt",
    "ChangeJudged",
    "CheckpointTaken",
    "CodeRetrieved",
    "Committed",
    "ContextCompacted",
    "DeliveryBegun",
    "DeliveryEnded",
    "DependenciesReady",
    "DeploymentSeen",
    "EffectDone",
    "EffectFailed",
    "EffectIntended",
    "EffectKind",
    "ErrandGiven",
    "Escalation",
    "FileChange",
    "FixStarted",
    "GateClosed",
    "GateOpened",
    "GateRefused",
    "GateReminded",
    "GateVoted",
    "HealStarted",
    "HoldLifted",
    "HoldRefused",
    "HoldReminded",
    "InstructionGiven",
    "InstructionTaken",
    "JobRehearsed",
    "MismatchFound",
    "ModelAnswered",
    "ModelAsked",
    "ModelFailed",
    "Payload",
    "PipelineSeen",
    "PipelineTriaged",
    "PlanMade",
    "PushHeld",
    "QuestionAnswered",
    "QuestionAsked",
    "RetrievedPlace",
    "ReviewNote",
    "RunAccepted",
    "RunClaimed",
    "RunEnded",
    "RunEvent",
    "RunFrozen",
    "RunThawed",
    "StatusChanged",
    "StopAsked",
    "TakenOver",
    "TargetSeen",
    "TestsRan",
    "ToolReturned",
    "ToolStarted",
    "WorkspaceReady",
    "kind_of",
]

Payload = (
    RunAccepted
    | ErrandGiven
    | RunClaimed
    | StatusChanged
    | WorkspaceReady
    | DependenciesReady
    | CodeRetrieved
    | PlanMade
    | ModelAsked
    | ModelAnswered
    | ModelFailed
    | ContextCompacted
    | ToolStarted
    | ToolReturned
    | CheckpointTaken
    | TestsRan
    | HealStarted
    | InstructionGiven
    | InstructionTaken
    | QuestionAsked
    | QuestionAnswered
    | Committed
    | EffectIntended
    | EffectDone
    | EffectFailed
    | PipelineSeen
    | PipelineTriaged
    | FixStarted
    | JobRehearsed
    | MismatchFound
    | ChangeJudged
    | PushHeld
    | HoldLifted
    | HoldRefused
    | HoldReminded
    | TakenOver
    | DeliveryBegun
    | GateOpened
    | GateVoted
    | GateRefused
    | GateReminded
    | GateClosed
    | TargetSeen
    | DeploymentSeen
    | DeliveryEnded
    | RunFrozen
    | RunThawed
    | StopAsked
    | RunEnded
)


@dataclass(frozen=True, kw_only=True)
class RunEvent:
    """A fact in the log. `hash` covers the fact and the hash of the one before."""

    run: RunId
    seq: int
    at: datetime
    actor: str  #: "worker", "effects", "service", or a person's id
    payload: Payload
    hash: str


@cache
def kind_of(payload_class: type) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", payload_class.__name__).lower()
