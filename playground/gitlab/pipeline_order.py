"""What the state of a pipeline's jobs says: what may start, from whom it takes files, the whole."""

from __future__ import annotations

import re

from playground.gitlab.ci_config import JobSpec, base_name
from playground.gitlab.ci_records import Job, Pipeline

ACTIVE = ("created", "waiting_for_resource", "preparing", "pending", "running", "scheduled")
DONE = ("success", "failed", "canceled", "skipped")


def current(pipeline: Pipeline) -> list[Job]:
    return [job for job in pipeline.jobs if not job.retried]


def good(job: Job) -> bool:
    optional = job.status in ("failed", "manual", "canceled") and job.allow_failure
    return job.status == "success" or optional


def readiness(pipeline: Pipeline, job: Job) -> str:
    """`wait`, `good` or `bad`: what has to come first is under way, well or not."""
    if job.spec.needs is not None:
        names = {need.job for need in job.spec.needs}
        first = [each for each in current(pipeline) if each.name in names]
        skipped_is_good = False
    else:
        place = pipeline.stages.index(job.stage)
        before = set(pipeline.stages[:place])
        first = [each for each in current(pipeline) if each.stage in before]
        skipped_is_good = True
    if any(each.status not in DONE and not good(each) for each in first):
        return "wait"
    well = all(good(each) or (skipped_is_good and each.status == "skipped") for each in first)
    return "good" if well else "bad"


def sources(pipeline: Pipeline, job: Job) -> list[Job]:
    """The jobs whose artifacts this one is given."""
    spec: JobSpec = job.spec
    jobs = [each for each in current(pipeline) if each.status in ("success", "failed")]
    if spec.needs is not None:
        names = {need.job for need in spec.needs if need.artifacts}
        return [each for each in jobs if each.name in names]
    before = set(pipeline.stages[: pipeline.stages.index(job.stage)])
    jobs = [each for each in jobs if each.stage in before]
    if spec.dependencies is not None:
        jobs = [
            each
            for each in jobs
            if each.name in spec.dependencies or base_name(each.name) in spec.dependencies
        ]
    return jobs


def coverage(job: Job) -> float | None:
    if not job.spec.coverage:
        return None
    found = re.findall(job.spec.coverage.strip("/"), job.trace.decode("utf-8", "replace"))
    numbers = re.findall(r"[\d.]+", str(found[-1])) if found else []
    return float(numbers[0]) if numbers else None


def status_of(pipeline: Pipeline) -> str:
    jobs = current(pipeline)
    if not jobs:
        return pipeline.status
    statuses = [job.status for job in jobs if not (job.status == "manual" and job.allow_failure)]
    counted = [job.status for job in jobs if not job.allow_failure]
    if any(status == "running" for status in statuses):
        return "running"
    if any(status in ("pending", "scheduled") for status in statuses):
        started = any(status in ("success", "failed") for status in statuses)
        return "running" if started else "pending"
    if "manual" in counted:
        return "manual"
    if "created" in statuses:
        return "running" if any(status in DONE for status in statuses) else "created"
    if "failed" in counted:
        return "failed"
    if "canceled" in counted:
        return "canceled"
    if statuses and all(status == "skipped" for status in statuses):
        return "skipped"
    return "success" if statuses or pipeline.started_at else "skipped"
