"""The facts of a run's log.

A run is its log: what people see (thread, pages, metrics, export) is computed from these
records and can be computed again. Each payload class is one kind of fact; its name in
snake case is the kind that the database stores.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Literal

from agent.freeze import Freeze
from agent.gate import Deed, Gate, GateId, Outcome
from agent.pipeline import Job, Judgement, Pipeline, Triage, Violation
from agent.plan import Plan
from agent.run import (
    CommitSha,
    Digest,
    Limits,
    Person,
    Request,
    RunId,
    RunStatus,
    TreeSha,
    Usage,
)
from agent.testreport import TestCase, TestReport


@dataclass(frozen=True, kw_only=True)
class RunAccepted:
    request: Request
    limits: Limits


@dataclass(frozen=True, kw_only=True)
class RunClaimed:
    """A worker took the run. `resumed` means that another one had begun it."""

    worker: str
    epoch: int
    resumed: bool = False


@dataclass(frozen=True, kw_only=True)
class StatusChanged:
    status: RunStatus
    reason: str = ""  #: a sentence for people, empty when the state says it all


@dataclass(frozen=True, kw_only=True)
class WorkspaceReady:
    base: CommitSha
    branch: str  #: the base branch
    files: int
    seconds: float
    notes: tuple[str, ...] = ()  #: what is unusual: LFS pointers, submodules, odd names


@dataclass(frozen=True, kw_only=True)
class DependenciesReady:
    manager: str  #: "uv", "npm" …, empty when the project declares none
    cached: bool
    seconds: float
    problem: str = ""  #: a sentence, empty when they were installed


@dataclass(frozen=True, kw_only=True)
class PlanMade:
    """The first plan or a later state of it; the newest one counts."""

    plan: Plan


@dataclass(frozen=True, kw_only=True)
class ModelAsked:
    """`appended` is the JSON list of the messages since the last answer; `prefix` is the
    SHA-256 of all that stands before them, so that the log holds each message once."""

    call: int
    appended: Digest
    prefix: Digest
    messages: int  #: in the whole prompt


@dataclass(frozen=True, kw_only=True)
class ModelAnswered:
    call: int
    message: Digest  #: JSON of the assistant's message
    usage: Usage
    model: str
    finish: str


@dataclass(frozen=True, kw_only=True)
class ModelFailed:
    call: int
    problem: str  #: a sentence for people
    attempt: int
    attempts: int
    retry_in: float | None  #: seconds, None when it is not tried again


@dataclass(frozen=True, kw_only=True)
class ContextCompacted:
    """The prompt was rewritten once to fit the window; the log keeps everything."""

    before_tokens: int
    after_tokens: int
    messages: Digest  #: JSON list that replaces everything before


@dataclass(frozen=True, kw_only=True)
class ToolStarted:
    """Stored for a call that takes a while, so that people see what is being waited for."""

    call: int
    tool: str
    summary: str  #: one line for people: the command


@dataclass(frozen=True, kw_only=True)
class ToolReturned:
    call: int  #: of the model answer that asked for it
    id: str  #: of the tool call
    tool: str
    arguments: str  #: JSON as the model wrote it, cut to 2,000 characters
    ok: bool
    summary: str  #: one line for people, for example "pytest -q: exit 1 in 2.1 s"
    output: Digest  #: what the model was shown
    seconds: float
    whole: Digest | None = None  #: all that was printed, where the model was shown a part


@dataclass(frozen=True, kw_only=True)
class FileChange:
    path: str
    status: Literal["added", "modified", "deleted", "renamed"]
    added: int
    removed: int


@dataclass(frozen=True, kw_only=True)
class CheckpointTaken:
    """The work tree as a tree in the vault, and as a patch against the base commit from which
    any host restores it."""

    tree: TreeSha
    patch: Digest
    files: tuple[FileChange, ...]


@dataclass(frozen=True, kw_only=True)
class TestsRan:
    __test__ = False  # not a test class of pytest's

    report: TestReport
    where: Literal["base", "change", "during"]  #: "during": asked for by the model


@dataclass(frozen=True, kw_only=True)
class HealStarted:
    attempt: int
    attempts: int
    failing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ReviewNote:
    """A comment on the merge request that an instruction was made of."""

    id: int
    discussion: str
    place: str = ""  #: "app.py:12"


@dataclass(frozen=True, kw_only=True)
class InstructionGiven:
    """A follow-up from the thread, whose ts is `message`; or `notes` of one person's review."""

    text: str
    by: Person
    message: str = ""
    notes: tuple[ReviewNote, ...] = ()
    approves: bool = False  #: the plan with which the run has ended


@dataclass(frozen=True, kw_only=True)
class InstructionTaken:
    """The model has it in its prompt now; `given` is the `seq` of its `InstructionGiven`."""

    given: int
    step: int


@dataclass(frozen=True, kw_only=True)
class QuestionAsked:
    question: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class QuestionAnswered:
    text: str
    by: Person
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Committed:
    commit: CommitSha
    tree: TreeSha
    files: tuple[FileChange, ...]
    title: str


class EffectKind(StrEnum):
    """What may be done to the world outside on behalf of a run."""

    PUSH = "push"
    OPEN_MERGE_REQUEST = "open_merge_request"
    UPDATE_MERGE_REQUEST = "update_merge_request"
    NOTE = "note"
    RETRY_JOB = "retry_job"
    REPLY = "reply"
    HAND_OVER = "hand_over"
    OPEN_DELIVERY = "open_delivery"
    MERGE = "merge"
    PLAY_JOB = "play_job"


@dataclass(frozen=True, kw_only=True)
class EffectIntended:
    """Written before anything is done outside. `key` makes the effect happen once."""

    key: str
    effect: EffectKind
    subject: str  #: what it acts on, for people


@dataclass(frozen=True, kw_only=True)
class EffectDone:
    key: str
    effect: EffectKind
    result: str  #: for people: "pushed 1a2b3c4", "!7"
    url: str = ""
    iid: int | None = None  #: of the merge request
    found: bool = False  #: it stood there already: read back, not repeated
    commit: CommitSha | None = None  #: that came of it: head of a merge request, the merge


@dataclass(frozen=True, kw_only=True)
class EffectFailed:
    key: str
    effect: EffectKind
    problem: str  #: a sentence for people
    retry_in: float | None = None


@dataclass(frozen=True, kw_only=True)
class PipelineSeen:
    """Stored when it changed: what GitLab says of the pushed commit. None: there is none."""

    commit: CommitSha
    pipeline: Pipeline | None
    judgement: Judgement


@dataclass(frozen=True, kw_only=True)
class PipelineTriaged:
    """Each red job, judged before anything is changed."""

    pipeline: int
    jobs: tuple[Triage, ...]
    tests: tuple[TestCase, ...] = ()  #: that failed, by the pipeline's own reports


@dataclass(frozen=True, kw_only=True)
class FixStarted:
    """The red jobs that are ours go back to the loop, on the same branch."""

    attempt: int
    attempts: int
    pipeline: int
    jobs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class JobRehearsed:
    """The commands of a red job, tried in the sandbox on the fix. What fails there may still
    pass at GitLab, and the other way round: it is told, and decides nothing."""

    attempt: int  #: of the fix
    job: str
    tree: TreeSha
    exit_code: int
    seconds: float
    output: Digest
    problem: str = ""  #: why it says nothing here: a tool is missing, it was stopped


@dataclass(frozen=True, kw_only=True)
class ChangeJudged:
    """What comparing a tree with the base has found where nobody is asked: facts only."""

    tree: TreeSha
    violations: tuple[Violation, ...]


@dataclass(frozen=True, kw_only=True)
class PushHeld:
    """The change would pass by weakening what checks it, or breaks a rule: a person decides."""

    tree: TreeSha
    violations: tuple[Violation, ...]
    self_accept: bool = False  #: the one who asked for the change may accept it, too


@dataclass(frozen=True, kw_only=True)
class HoldLifted:
    """A person accepts the violations of one tree, once."""

    tree: TreeSha
    by: Person
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HoldRefused:
    """A click on a hold that lets nothing pass."""

    by: Person
    reason: str  #: as the person was told
    hold: int = 0  #: `held_seq` of what the person has seen


@dataclass(frozen=True, kw_only=True)
class HoldReminded:
    """People were told once more that a hold waits for them."""

    hold: int


@dataclass(frozen=True, kw_only=True)
class TakenOver:
    """The branch is this person's from now on: the run adds to it only when people ask again."""

    by: Person


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


@dataclass(frozen=True, kw_only=True)
class RunFrozen:
    """A freeze holds the run; `status` is the one from which it goes on afterwards."""

    freeze: Freeze
    status: RunStatus


@dataclass(frozen=True, kw_only=True)
class RunThawed:
    """The freeze was ended, and the run goes on."""


@dataclass(frozen=True, kw_only=True)
class StopAsked:
    by: Person
    how: str  #: "mention", "stop button", "menu", "page", "shell"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One row of an escalation report."""

    number: int
    failing: tuple[str, ...]
    tried: str
    tree: TreeSha | None = None


@dataclass(frozen=True, kw_only=True)
class Escalation:
    reason: str
    attempts: tuple[Attempt, ...] = ()
    likely_cause: str = ""
    not_tried: str = ""


@dataclass(frozen=True, kw_only=True)
class RunEnded:
    status: RunStatus
    reason: str = ""  #: why it did not succeed, a sentence for people
    summary: str = ""  #: what was done, in the model's words: untrusted text
    answer: str = ""  #: to a question that needed no change: untrusted text
    error_id: str = ""  #: for a defect of ours
    escalation: Escalation | None = None


Payload = (
    RunAccepted
    | RunClaimed
    | StatusChanged
    | WorkspaceReady
    | DependenciesReady
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
