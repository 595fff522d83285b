"""A runner that runs nothing: every job is green at once, unless a fault says otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from playground.gitlab.ci_records import Job, Pipeline
from playground.gitlab.records import Project
from playground.gitlab.runner import Outcome


class InstantRunner:
    """For tests that need pipelines and deployments, but not what their scripts do:
    `gitlab.forge.pipelines.runner = InstantRunner()`. The faults `job_fails` and `job_waits`
    decide otherwise, job by job."""

    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(1000)
        self.ran: list[tuple[str, str, str]] = []  #: ref, name and commit, in order

    async def run(
        self, project: Project, pipeline: Pipeline, job: Job, sources: Sequence[Job]
    ) -> Outcome:
        self.ran.append((job.ref, job.name, pipeline.sha))
        job.trace += b"Job succeeded\n"
        return Outcome(exit_code=0)
