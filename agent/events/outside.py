"""What is done outside on behalf of a run, and what its pipelines say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from agent.pipeline import Judgement, Pipeline, Triage
from agent.run import CommitSha, Digest, TreeSha
from agent.testreport import TestCase


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
    attempt: int = 0
    attempts: int = 0  #: 0: of a time when they were not told


@dataclass(frozen=True, kw_only=True)
class MismatchFound:
    """What stands at GitLab is not what this log makes people think. Each is told once."""

    what: Literal["branch_left", "twice", "merged", "closed", "retargeted"]
    reason: str  #: for people: what stands there, what is kept, what to do
    iids: tuple[int, ...] = ()  #: of the merge requests that it is about


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
