"""What a pipeline says of one commit.

Only `success` of a pipeline that ran for the pushed commit is green; whatever else GitLab
calls it has its own verdict and its own sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agent.run import CommitSha

#: Seconds after which a pipeline that has not appeared will not come.
ABSENT_AFTER = 120.0


class Verdict(StrEnum):
    AWAITED = "awaited"  # not there yet
    RUNNING = "running"
    GREEN = "green"
    RED = "red"
    ABSENT = "absent"  # none came for this commit
    SKIPPED = "skipped"
    CANCELED = "canceled"
    MANUAL = "manual"  # nothing runs before somebody starts a job
    BLOCKED = "blocked"  # waits for an approval or a resource at GitLab
    OTHER_COMMIT = "other_commit"  # it ran for another commit, such as a merged result


SETTLED = frozenset(Verdict) - {Verdict.AWAITED, Verdict.RUNNING}
WAITS_FOR_A_PERSON = frozenset({Verdict.MANUAL, Verdict.BLOCKED})


@dataclass(frozen=True, kw_only=True)
class Job:
    """`status` is GitLab's own word. An external one is a commit status that another system
    reported: it has no log at GitLab."""

    id: int
    name: str
    stage: str
    status: str
    url: str = ""
    allow_failure: bool = False
    failure_reason: str = ""  #: GitLab's: script_failure, runner_system_failure, …
    external: bool = False

    @property
    def failed(self) -> bool:
        return self.status == "failed" and not self.allow_failure


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    id: int
    sha: CommitSha
    ref: str
    source: str  #: push, merge_request_event, external, …
    status: str  #: GitLab's own word
    url: str
    jobs: tuple[Job, ...] = ()
    #: other red pipelines of the same commit; their red jobs are among `jobs`
    beside: tuple[int, ...] = ()

    @property
    def red(self) -> tuple[Job, ...]:
        return tuple(job for job in self.jobs if job.failed)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    verdict: Verdict
    sentence: str


class Blame(StrEnum):
    """Whose failure a red job is."""

    OURS = "ours"
    BASE = "base"  # red on the target branch, too
    FLAKY = "flaky"  # passed, or failed otherwise, when it ran again
    INFRASTRUCTURE = "infrastructure"  # runner lost, time-out, image not pulled
    UNREADABLE = "unreadable"  # its log cannot be read from here


@dataclass(frozen=True, kw_only=True)
class Triage:
    """What is thought of one red job, and on which evidence."""

    job: Job
    blame: Blame
    sentence: str
    excerpt: str = ""  #: the failing section of its log, cleaned and cut
    script: tuple[str, ...] = ()  #: its own commands, where it is ours and they can be had
    again: bool = False  #: it gets the one retry that a job has at a commit


class Weakening(StrEnum):
    """Ways to make checks pass without making the code right."""

    TEST_REMOVED = "test removed"
    TEST_SKIPPED = "test skipped"
    ASSERTION_REMOVED = "assertion removed"
    ASSERTION_LOOSENED = "assertion loosened"
    EXPECTATION_CHANGED = "expected value changed"
    THRESHOLD_LOWERED = "threshold lowered"
    IGNORE_ADDED = "linter ignore added"
    CI_TOUCHED = "CI file touched"


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A rule that a change does not keep, at a place."""

    rule: str  #: a `Weakening`, "path", "size", "credential"
    path: str
    line: int  #: 0 for the whole file
    detail: str  #: a sentence's end, for people: what was found
