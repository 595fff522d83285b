"""What is asked, by whom, and how far it has come."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, NewType

RunId = NewType("RunId", int)
CommitSha = NewType("CommitSha", str)
TreeSha = NewType("TreeSha", str)
Digest = NewType("Digest", str)  #: hexadecimal SHA-256 of a `Body`

CLOCKS = 30.0  #: seconds that the clocks of Slack and the database may differ
_TS = re.compile(r"\d{10}\.\d{6}")  # of a message of Slack


class RunStatus(StrEnum):
    """Where a run stands. Nothing waits in memory: each waiting state is a row."""

    QUEUED = "queued"  # accepted, no worker yet
    PLANNING = "planning"  # reading, and deciding what to do
    WORKING = "working"  # editing and running commands
    TESTING = "testing"  # the harness runs the project's tests
    PUBLISHING = "publishing"  # branch and merge request are being written
    WATCHING = "watching"  # a pipeline is running
    WAITING_FOR_ANSWER = "waiting_for_answer"  # a question stands in the thread
    WAITING_FOR_APPROVAL = "waiting_for_approval"  # a gate stands in the thread
    DELIVERING = "delivering"  # merging and deploying
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # something broke on our side or outside
    ESCALATED = "escalated"  # needs a person; the branch is kept
    CANCELLED = "cancelled"  # a person stopped it


ENDED = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.ESCALATED, RunStatus.CANCELLED})
WAITING = frozenset({RunStatus.WAITING_FOR_ANSWER, RunStatus.WAITING_FOR_APPROVAL})
ACTIVE = frozenset(RunStatus) - ENDED - WAITING - {RunStatus.QUEUED}
#: Looked after now and then, by clock or hint, and by no worker in between.
PARKED = frozenset({RunStatus.WATCHING, RunStatus.DELIVERING})

_WORK = ACTIVE | WAITING | ENDED
#: A run that ended may be queued again: by a follow-up in its thread, or by `retry`.
TRANSITIONS: Mapping[RunStatus, frozenset[RunStatus]] = MappingProxyType(
    {
        # a queued run may be told what it waits for
        RunStatus.QUEUED: ACTIVE | ENDED | {RunStatus.QUEUED},
        **{status: (_WORK | {RunStatus.QUEUED}) - {status} for status in ACTIVE},
        # one that delivers, too
        RunStatus.DELIVERING: _WORK | {RunStatus.QUEUED},
        **{status: ENDED | ACTIVE | {RunStatus.QUEUED} for status in WAITING},
        **{status: frozenset({RunStatus.QUEUED}) for status in ENDED},
    }
)


@dataclass(frozen=True, kw_only=True)
class Thread:
    """The conversation that a run belongs to, for life."""

    team: str
    channel: str
    ts: str  #: identifies the first message of the thread


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody who asks, instructs or decides. `access` is GitLab's level, read live."""

    id: str  #: id in the chat, for example U024BE7LH
    name: str  #: for showing only, never for deciding
    gitlab_id: int | None = None
    gitlab_username: str | None = None
    access: int = 0  #: 10 guest, 20 reporter, 30 developer, 40 maintainer, 50 owner


DEVELOPER = 30
MAINTAINER = 40


@dataclass(frozen=True, kw_only=True)
class ThreadMessage:
    """One earlier message of the thread: record, never instruction."""

    author: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Linked:
    """A GitLab issue or merge request named in the request: record, never instruction."""

    kind: Literal["issue", "merge_request"]
    iid: int
    url: str
    title: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Follows:
    """A branch and merge request of earlier runs, which a run goes on with as its own."""

    runs: tuple[RunId, ...]  #: that had them before, the newest last
    branch: str
    iid: int
    head: CommitSha  #: where the branch stood; the first push replaces exactly this


@dataclass(frozen=True, kw_only=True)
class Upkeep:
    """Of a run that a night began: what later nights have to know of it."""

    offers: tuple[str, ...] = ()  #: see `Group.offers`
    difference: Digest | None = None  #: SHA-256 of the patch that it began with
    follows: Follows | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked. Bound to the run for life."""

    text: str
    project: str  #: GitLab's path with namespace, or the path of a local repository
    base_branch: str | None  #: None: the project's default branch
    requester: Person
    thread: Thread
    message: str  #: ts of the message that asked, unique in its channel
    model: str | None = None  #: from `model=…`
    plan_only: bool = False  #: from `plan=only`
    context: tuple[ThreadMessage, ...] = ()
    linked: tuple[Linked, ...] = ()
    #: of the database that has the run; sets its branches apart from those of an earlier one
    mark: str = ""
    upkeep: Upkeep | None = None  #: None: a person asked

    @property
    def follows(self) -> Follows | None:
        return self.upkeep.follows if self.upkeep else None


def branch_of(run: RunId, request: Request) -> str:
    """Where the run's commits go, for life."""
    if request.follows:
        return request.follows.branch
    return f"agent/{run}-{request.mark}" if request.mark else f"agent/{run}"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Caps of one run, checked before each model call, so that at most one call overshoots."""

    steps: int = 100
    tokens: int = 3_000_000  #: prompt + completion, cached ones too
    money: float = 5.0  #: US dollars
    seconds: float = 3600.0  #: working time; waiting for people is not counted
    heal_attempts: int = 3
    fix_attempts: int = 3  #: of a red pipeline
    pipeline_seconds: float = 7200.0  #: how long a pipeline is waited for


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a run, or one model call, has used."""

    steps: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0  #: part of `prompt_tokens`
    completion_tokens: int = 0
    money: float = 0.0  #: US dollars; 0 when the price is unknown
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            steps=self.steps + other.steps,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            money=self.money + other.money,
            seconds=self.seconds + other.seconds,
        )


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as its row says. Everything else is in its events."""

    id: RunId
    request: Request
    status: RunStatus
    limits: Limits = field(default_factory=Limits)
    epoch: int = 0  #: fencing token: grows by one with each claim
    cancel: bool = False  #: a person asked to stop
    seq: int = 0  #: of the newest event, which an older version may not be able to read
    created_at: datetime
    updated_at: datetime

    @property
    def branch(self) -> str:
        return branch_of(self.id, self.request)

    def asked_before(self, said: str) -> bool:
        """Before the message of this ts: by Slack's clock, or nearly so for what no message asked
        for."""
        message = self.request.message
        if _TS.fullmatch(message) and _TS.fullmatch(said):
            return message < said
        return self.created_at.timestamp() < float(said) + CLOCKS
