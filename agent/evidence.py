"""What GitLab knows of a red pipeline's jobs, gathered for their triage."""

from __future__ import annotations

from agent.errors import ForgeRejected, LogUnreadable
from agent.events import Committed
from agent.joblog import JobLog
from agent.pipeline import Job, Pipeline
from agent.ports import ForgeReader
from agent.prompt import clean, cut
from agent.testreport import BAD, TestCase
from agent.triage import UNREAD, Evidence
from agent.work import Hold, Lookout

JOBS = 8  #: red jobs whose logs are read
TESTS = 20  #: failing tests that are kept
MESSAGE = 1_500  #: characters of each
EXCERPT = 6_000  #: characters of a log


async def evidence(
    work: Hold, lookout: Lookout, commit: Committed, pipeline: Pipeline
) -> dict[int, Evidence]:
    """By job. What cannot be read is told, and no reason to stop."""
    return {
        job.id: await (_outside if job.external else _of)(work, lookout, commit, job)
        for job in pipeline.red[:JOBS]
    }


async def last_finished(forge: ForgeReader, project: str, branch: str) -> Pipeline | None:
    try:
        return await forge.branch_pipeline(project, branch)
    except ForgeRejected:
        return None


async def failing_tests(
    forge: ForgeReader, project: str, pipeline: Pipeline
) -> tuple[TestCase, ...]:
    bad: list[TestCase] = []
    for number in (pipeline.id, *pipeline.beside):
        try:
            report = await forge.pipeline_tests(project, number)
        except ForgeRejected:
            continue
        bad += [case for case in report.cases if case.status in BAD] if report else []
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


async def _of(work: Hold, lookout: Lookout, commit: Committed, job: Job) -> Evidence:
    forge, project = lookout.forge, work.state.request.project
    log, problem = JobLog(), ""
    try:
        await forge.job_log(project, job.id, log.feed)
    except ForgeRejected as error:
        problem = f"its log cannot be read: {error}"
    try:
        script = await forge.ci_script(project, commit.commit, job.name)
    except ForgeRejected:
        script = ()
    return Evidence(excerpt=excerpt_of(log), problem=problem.rstrip("."), script=script)


async def _outside(work: Hold, lookout: Lookout, commit: Committed, job: Job) -> Evidence:
    """Another system's log, where the settings allow it."""
    prefixes = work.project.ci_logs
    if not job.url or not prefixes or lookout.outside is None:
        return Evidence(problem=UNREAD)
    log = JobLog()
    try:
        await lookout.outside.read(job.url, prefixes, log.feed)
    except LogUnreadable as error:
        told = str(error).rstrip(".")
        return Evidence(problem=f"is of another system: {told[0].lower()}{told[1:]}")
    return Evidence(excerpt=excerpt_of(log))


def excerpt_of(log: JobLog) -> str:
    """The command, what matters of its output, and the runner's last word, each once."""
    found = log.excerpt(EXCERPT)
    parts = [f"$ {found.command}" if found.command else "", found.bare, found.failure]
    if found.bare.startswith(parts[0]):
        parts[0] = ""
    if found.failure in found.bare:
        parts[2] = ""
    return clean("\n".join(filter(None, parts)))
