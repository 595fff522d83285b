"""Runs a red job once more: one retry a job, of the run's own pipeline."""

from __future__ import annotations

from agent.effects.context import Effect, EffectContext, Handler, found
from agent.errors import ForgeRejected, Refused
from agent.events import EffectDone, EffectKind
from agent.intents import RetryJob
from agent.pipeline import Job
from agent.state import RunState


async def _retry(context: EffectContext, effect: Effect[RetryJob]) -> EffectDone:
    state, intent = effect.state, effect.intent
    seen = state.pipeline
    if seen is None or seen.pipeline is None or seen.commit != intent.commit:
        raise Refused(f"Job {intent.job} is not of the run's newest pipeline.")
    job = next((job for job in seen.pipeline.jobs if job.id == intent.job), None)
    if job is None:
        raise Refused(f"Job {intent.job} is not of the run's newest pipeline.")
    project = state.request.project
    if effect.before and (again := await _again(context, project, intent, job)):
        return found(_done(effect.key, again))
    await context.heed(state.run)
    try:
        return _done(effect.key, await context.writer.retry_job(project, intent.job))
    except ForgeRejected:
        # a second time is refused; that there was a first one may be seen only now
        if effect.before and (again := await _again(context, project, intent, job)):
            return found(_done(effect.key, again))
        raise


async def _again(context: EffectContext, project: str, intent: RetryJob, job: Job) -> Job | None:
    """What has taken the place of the job in its pipeline."""
    lines = await context.reader.pipelines(project, sha=intent.commit)
    jobs = [each for line in lines for each in line.jobs if each.name == job.name]
    if job.id in {each.id for each in jobs}:
        return None
    return next((each for each in jobs if each.id > job.id), None)


def _done(key: str, again: Job) -> EffectDone:
    return EffectDone(
        key=key,
        effect=EffectKind.RETRY_JOB,
        result=f"job {again.name} runs once more",
        url=again.url,
    )


def _subject(state: RunState, intent: RetryJob) -> str:
    return f"run job {intent.job} once more"


RETRY_JOB = Handler(subject=_subject, act=_retry)
