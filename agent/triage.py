"""Whose failure a red job is, before anything is changed for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from agent.pipeline import Blame, Job, Pipeline, Triage
from agent.prompt import clean
from agent.testreport import TestCase

#: GitLab's own reasons that say nothing of what the job checked.
INFRASTRUCTURE = {
    "runner_system_failure": "its runner broke down",
    "stuck_or_timeout_failure": "no runner went on with it in time",
    "job_execution_timeout": "it took longer than it may",
    "image_pull_failure": "its image could not be pulled",
    "api_failure": "its runner lost GitLab",
    "runner_unsupported": "its runner is too old",
    "runner_interrupted": "its runner was taken away",
    "no_matching_runner": "no runner takes it",
    "scheduler_failure": "GitLab could not hand it to a runner",
    "data_integrity_failure": "GitLab lost data of it",
    "stale_schedule": "it was scheduled too long ago",
    "unmet_prerequisites": "GitLab could not prepare what it needs",
    "environment_creation_rejected_failure": "GitLab could not prepare its environment",
    "ci_quota_exceeded": "no CI minutes are left",
    "secrets_provider_not_found": "its secrets could not be had",
    "unknown_failure": "GitLab does not know why",
}
#: What a runner itself prints as a job's last words.
_SYSTEM = re.compile(
    r"ERROR: Job failed \(system failure\)|Failed to pull image|ErrImagePull|ImagePullBackOff"
    r"|Cannot connect to the Docker daemon|No space left on device"
)
UNREAD = "is of another system, and its log cannot be read here"
_SHORTEST = 4  #: characters of a file's name that a log may name by chance


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of a red job beside GitLab's word. `problem`: why its log was not read."""

    excerpt: str = ""
    problem: str = ""
    script: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is red at one commit."""

    pipeline: Pipeline
    base: Pipeline | None  #: the target branch's last one
    target: str
    changed: Sequence[str]  #: paths
    retried: Mapping[int, str]  #: ids of the red jobs that had their one retry, and their names
    tests: Sequence[TestCase] = ()  #: that failed, by the pipeline's own reports


def triage(case: Case, evidence: dict[int, Evidence]) -> tuple[Triage, ...]:
    """Where one job is ours, the others wait for the next commit instead of running again."""
    judged = tuple(
        _judged(case, job, evidence.get(job.id, Evidence())) for job in case.pipeline.red
    )
    if not any(each.blame is Blame.OURS for each in judged):
        return judged
    return tuple(_without_retry(each) for each in judged)


def _judged(case: Case, job: Job, found: Evidence) -> Triage:
    blame, why, again = _blame(case, job, found)
    return Triage(
        job=job,
        blame=blame,
        sentence=f"{why}; it runs once more." if again else f"{why}.",
        excerpt=found.excerpt,
        script=found.script if blame is Blame.OURS else (),
        again=again,
    )


def _blame(case: Case, job: Job, found: Evidence) -> tuple[Blame, str, bool]:
    name = f"`{clean(job.name)[:60]}`"
    first = job.name not in case.retried.values()
    if case.base and any(each.name == job.name for each in case.base.red):
        told = (
            f"{name} fails on {case.target} too (pipeline #{case.base.id}): not this change's doing"
        )
        return Blame.BASE, told, False
    if reason := _infrastructure(job, found):
        told = f"{name} was not decided: {reason}{'' if first else ', and so again'}"
        return Blame.INFRASTRUCTURE, told, first and not job.external
    if job.external:
        return _outside(case, job, found, name)
    if found.problem and not case.tests:
        return Blame.UNREADABLE, f"{name} failed, and {found.problem}", False
    if first and not names_one(case.changed, found.excerpt, case.tests):
        return Blame.FLAKY, f"{name} failed in nothing that names the change", True
    again = "" if first else " again"
    if job.id in case.retried:
        again = ", could not be run again"
    known = f"passes on {case.target}" if _passes(case, job) else "names what was changed"
    return Blame.OURS, f"{name} failed{again}, and {known}", False


def _outside(case: Case, job: Job, found: Evidence, name: str) -> tuple[Blame, str, bool]:
    """It cannot be run again from here: what its log says is worked with at once."""
    if found.problem or not found.excerpt:
        return Blame.UNREADABLE, f"{name} {found.problem or UNREAD}", False
    known = f", and passes on {case.target}" if _passes(case, job) else ""
    return Blame.OURS, f"{name} failed at another system{known}", False


def _passes(case: Case, job: Job) -> bool:
    known = [each for each in case.base.jobs if each.name == job.name] if case.base else []
    return any(each.status == "success" for each in known)


def _infrastructure(job: Job, found: Evidence) -> str:
    if reason := INFRASTRUCTURE.get(job.failure_reason):
        return reason
    plain = job.external or job.failure_reason in ("", "script_failure")
    if plain and (said := _SYSTEM.search(found.excerpt)):
        return f"its log says `{said[0]}`"
    return ""


def _without_retry(judged: Triage) -> Triage:
    if not judged.again:
        return judged
    sentence = judged.sentence.replace("; it runs once more.", "; it runs with the fix.")
    return Triage(
        job=judged.job, blame=judged.blame, sentence=sentence, excerpt=judged.excerpt, again=False
    )


def names_one(changed: Sequence[str], excerpt: str, tests: Sequence[TestCase]) -> bool:
    """Does the failure name a file of the change, or the module that it is?"""
    said = "\n".join([excerpt, *(f"{case.id} {case.path} {case.message}" for case in tests)])
    for path in changed:
        pure = PurePosixPath(path)
        module = ".".join(pure.with_suffix("").parts)
        for name in (path, pure.name, module):
            if len(name) >= _SHORTEST and re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", said):
                return True
    return False
