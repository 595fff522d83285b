"""A red pipeline: whose failure it is, and what is done about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from agent.branch import failures
from agent.events import (
    Committed,
    FixStarted,
    PipelineSeen,
    PipelineTriaged,
    QuestionAsked,
    RunEnded,
)
from agent.evidence import evidence, failing_tests, last_finished
from agent.finish import finish_in
from agent.intents import RetryJob
from agent.pipeline import Blame, Job, Pipeline, Triage
from agent.report import fix_report
from agent.run import RunStatus
from agent.stages.keep import close, kept
from agent.triage import Case, triage
from agent.work import Hold, Lookout

P = TypeVar("P")


async def red(work: Hold, lookout: Lookout, commit: Committed, seen: PipelineSeen) -> bool:
    """Runs jobs again, starts a fix, asks a person, or ends the run. False: GitLab has not caught
    up yet with the jobs that were told to run again."""
    pipeline, sentence = seen.pipeline, seen.judgement.sentence
    assert pipeline is not None
    news = () if seen == work.state.pipeline else (seen,)
    retried = {each.job.id: each.job.name for each in _retried(work, commit)}
    fixes = work.state.fixes
    if not pipeline.red:
        await close(work, RunStatus.ESCALATED, sentence, *news)
    elif all(_runs_again(work, commit, job, retried) for job in pipeline.red):
        return False
    elif fixes and fixes[-1].pipeline == pipeline.id:
        told = f"{sentence} The fix changed nothing."
        await _escalate(work, told, *news)
    else:
        judged = await _triaged(work, lookout, commit, pipeline, retried)
        await _act(work, commit, pipeline, sentence, (*news, judged), judged.jobs)
    return True


async def _triaged(
    work: Hold, lookout: Lookout, commit: Committed, pipeline: Pipeline, retried: Mapping[int, str]
) -> PipelineTriaged:
    forge, project = lookout.forge, work.state.request.project
    target = work.state.workspace.branch if work.state.workspace else ""
    tests = await failing_tests(forge, project, pipeline)
    case = Case(
        pipeline=pipeline,
        base=await last_finished(forge, project, target),
        target=target,
        changed=[change.path for change in commit.files],
        retried=retried,
        tests=tests,
    )
    found = await evidence(work, lookout, commit, pipeline)
    return PipelineTriaged(pipeline=pipeline.id, jobs=triage(case, found), tests=tests)


async def _act(
    work: Hold,
    commit: Committed,
    pipeline: Pipeline,
    sentence: str,
    news: tuple[PipelineSeen | PipelineTriaged, ...],
    jobs: tuple[Triage, ...],
) -> None:
    limit, made = work.state.limits.fix_attempts, len(work.state.fixes)
    ours = tuple(each.job.name for each in jobs if each.blame is Blame.OURS)
    again = [each for each in jobs if each.again]
    if ours and not work.state.request.thread.channel and work.state.errand is None:
        await _escalate(work, f"{sentence} A night's own tools cannot mend that.", *news)
    elif ours and made < limit:
        fix = FixStarted(attempt=made + 1, attempts=limit, pipeline=pipeline.id, jobs=ours)
        await work.journal.write(*news, fix, status=RunStatus.WORKING, wake=True)
    elif ours:
        times = "attempt" if made == 1 else "attempts"
        await _escalate(work, f"{sentence} It still fails after {made} {times} to fix it.", *news)
    elif again:
        retries = [RetryJob(job=each.job.id, commit=commit.commit) for each in again]
        await work.journal.write(*news, intents=retries)
    elif unreadable := [each for each in jobs if each.blame is Blame.UNREADABLE]:
        await _ask(work, commit, unreadable, news)
    else:
        told = " ".join(each.sentence for each in jobs)
        status = RunStatus.SUCCEEDED
        if any(each.blame is Blame.INFRASTRUCTURE for each in jobs):
            status = RunStatus.ESCALATED
        await close(work, status, f"{sentence} {told}", *news)


async def _ask(
    work: Hold,
    commit: Committed,
    jobs: list[Triage],
    news: tuple[PipelineSeen | PipelineTriaged, ...],
) -> None:
    """Once a commit: the answer goes to the model as the reason of the failure."""
    told = " ".join(
        f"{each.sentence} ({each.job.url})" if each.job.url else each.sentence for each in jobs
    )
    question = QuestionAsked(question=f"{told} What does it say, or shall I leave it as it is?")
    nobody = not work.state.request.thread.channel
    if nobody or question in _since(work, commit, QuestionAsked):
        await close(work, RunStatus.ESCALATED, told, *news)
        return
    await work.journal.write(*news, question, status=RunStatus.WAITING_FOR_ANSWER)


async def _escalate(work: Hold, reason: str, *news: PipelineSeen | PipelineTriaged) -> None:
    await work.journal.write(*news)
    report = fix_report(work, reason, await finish_in(work.journal))
    end = RunEnded(
        status=RunStatus.ESCALATED, reason=f"{reason} {kept(work, None)}", escalation=report
    )
    await work.journal.write(end)


def passed_again(work: Hold, commit: Committed, seen: PipelineSeen) -> tuple[PipelineTriaged, ...]:
    """What a green pipeline says of the jobs that had their one retry."""
    retried = _retried(work, commit)
    if not retried or seen.pipeline is None:
        return ()
    jobs = tuple(
        replace(each, again=False, sentence=f"`{each.job.name}` passed when it ran again.")
        for each in retried
    )
    return (PipelineTriaged(pipeline=seen.pipeline.id, jobs=jobs),)


def _retried(work: Hold, commit: Committed) -> list[Triage]:
    return [
        each
        for triaged in _since(work, commit, PipelineTriaged)
        for each in triaged.jobs
        if each.again
    ]


def _runs_again(work: Hold, commit: Committed, job: Job, retried: Mapping[int, str]) -> bool:
    """GitLab shows the job that was told to run again as it was before."""
    key = RetryJob(job=job.id, commit=commit.commit).key(work.state.run)
    return job.id in retried and key not in failures(work)


def _since(work: Hold, commit: Committed, kind: type[P]) -> list[P]:
    """Facts of one kind about the newest commit."""
    facts: list[P] = []
    for event in reversed(work.journal.events):
        if event.payload == commit:
            break
        if isinstance(event.payload, kind):
            facts.append(event.payload)
    return facts[::-1]
