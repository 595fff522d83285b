"""Runs a red job once more: one retry a job, of the run's own pipeline."""

from __future__ import annotations

from agent.effects.context import Effect, EffectContext, Handler
from agent.errors import Refused
from agent.events import EffectDone, EffectKind
from agent.intents import RetryJob
from agent.state import RunState


async def _retry(context: EffectContext, effect: Effect[RetryJob]) -> EffectDone:
    state, intent = effect.state, effect.intent
    seen = state.pipeline
    if seen is None or seen.pipeline is None or seen.commit != intent.commit:
        raise Refused(f"Job {intent.job} is not of the run's newest pipeline.")
    if intent.job not in {job.id for job in seen.pipeline.jobs}:
        raise Refused(f"Job {intent.job} is not of the run's newest pipeline.")
    again = await context.writer.retry_job(state.request.project, intent.job)
    return EffectDone(
        key=effect.key,
        effect=EffectKind.RETRY_JOB,
        result=f"job {again.name} runs once more",
        url=again.url,
    )


def _subject(state: RunState, intent: RetryJob) -> str:
    return f"run job {intent.job} once more"


RETRY_JOB = Handler(subject=_subject, act=_retry)
