"""What GitLab knows of a red pipeline's jobs, gathered for their triage."""

from __future__ import annotations

from agent.errors import ForgeRejected
from agent.events import Committed
from agent.joblog import JobLog
from agent.pipeline import Job, Pipeline
from agent.ports import ForgeReader
from agent.prompt import clean, cut
from agent.testreport import BAD, TestCase
from agent.triage import Evidence

JOBS = 8  #: red jobs whose logs are read
TESTS = 20  #: failing tests that are kept
MESSAGE = 1_500  #: characters of each
EXCERPT = 6_000  #: characters of a log


async def evidence(
    forge: ForgeReader,
    project: str,
    commit: Committed,
    pipeline: Pipeline,
) -> dict[int, Evidence]:
    """By job. What cannot be read is told, and no reason to stop."""
    return {
        job.id: await _of(forge, project, commit, job)
        for job in pipeline.red[:JOBS]
        if not job.external
    }


async def last_finished(forge: ForgeReader, project: str, branch: str) -> Pipeline | None:
    try:
        return await forge.branch_pipeline(project, branch)
    except ForgeRejected:
        return None


async def failing_tests(
    forge: ForgeReader, project: str, pipeline: Pipeline
) -> tuple[TestCase, ...]:
    try:
        report = await forge.pipeline_tests(project, pipeline.id)
    except ForgeRejected:
        return ()
    bad = [case for case in report.cases if case.status in BAD] if report else []
    return tuple(
        TestCase(
            id=clean(case.id)[:300],
            status=case.status,
            message=cut(clean(case.message), MESSAGE),
            path=case.path,
            line=case.line,
        )
        for case in bad[:TESTS]
    )


async def _of(forge: ForgeReader, project: str, commit: Committed, job: Job) -> Evidence:
    log, problem = JobLog(), ""
    try:
        await forge.job_log(project, job.id, log.feed)
    except ForgeRejected as error:
        problem = f"its log cannot be read: {error}"
    try:
        script = await forge.ci_script(project, commit.commit, job.name)
    except ForgeRejected:
        script = ()
    found = log.excerpt(EXCERPT)
    command = f"$ {found.command}" if found.command else ""
    excerpt = "\n".join(filter(None, (command, found.text, found.failure)))
    return Evidence(excerpt=clean(excerpt), problem=problem.rstrip("."), script=script)
