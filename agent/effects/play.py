"""Starts a manual job that deploys: one of the environment's own, of the merge's pipeline."""

from __future__ import annotations

from agent.delivery import Delivery
from agent.effects.context import Effect, EffectContext, Handler, found
from agent.effects.passing import (
    approved,
    nobody_is_asked,
    not_stopped,
    on_its_way,
    settled,
    stands_still,
)
from agent.errors import ForgeRejected, Refused
from agent.events import EffectDone, EffectKind
from agent.intents import PlayJob
from agent.pipeline import Job, Verdict
from agent.run import CommitSha
from agent.state import RunState
from agent.watch import judge


def _stands(state: RunState, intent: PlayJob) -> tuple[Delivery, CommitSha]:
    """By the log alone."""
    delivery = on_its_way(state, intent.delivery)
    if delivery.merged is None:
        raise Refused("Nothing was merged, so there is nothing to deploy.")
    if intent.gate is not None:
        approved(
            state,
            intent.gate,
            delivery,
            delivery.merged,
            environment=intent.environment,
            job=intent.job,
        )
    return delivery, delivery.merged


async def _play(context: EffectContext, effect: Effect[PlayJob]) -> EffectDone:
    state, intent = effect.state, effect.intent
    project = state.request.project
    job = await context.reader.job(project, intent.job)
    if effect.before and job.status != "manual":
        return found(_done(effect, job))
    delivery, merged = _stands(state, intent)
    rule = settled(context, state).environment(intent.environment)
    if rule is None or job.name not in rule.jobs:
        raise Refused(f"The job `{job.name}` does not deploy to `{intent.environment}`.")
    lines = await context.reader.pipelines(project, sha=merged)
    ours = [each for each in lines if each.ref == delivery.begun.target and each.sha == merged]
    if intent.job not in {each.id for line in ours for each in line.jobs}:
        raise Refused(f"The job `{job.name}` is not of the pipeline of {merged[:8]}.")
    if job.status != "manual":
        return found(_done(effect, job))
    if intent.gate is None:
        nobody_is_asked(context, rule.rule, rule.name)
        _, judged = judge(ours, merged, float("inf"))
        if judged.verdict not in (Verdict.GREEN, Verdict.MANUAL):
            raise Refused(f"{judged.sentence} Only what passed is deployed.")
    else:
        gate = approved(state, intent.gate, delivery, merged, environment=rule.name, job=intent.job)
        await stands_still(context, tuple(effect.events), state, gate)
    await _nowhere_else(context, state, intent, merged)
    await not_stopped(context, state)
    await context.heed(state.run)
    try:
        job = await context.merger.play_job(project, intent.job)
    except ForgeRejected as refusal:
        job = await context.reader.job(project, intent.job)
        if refusal.status == 400 and job.status != "manual":
            return found(_done(effect, job))
        if refusal.status in (401, 403):
            told = f"GitLab protects `{rule.name}` from me, so `{job.name}` was not started."
            raise Refused(f"{told} {refusal} Start it at GitLab, or let me deploy there.") from None
        raise Refused(f"The job `{job.name}` cannot be started. {refusal}") from refusal
    return _done(effect, job)


async def _nowhere_else(
    context: EffectContext, state: RunState, intent: PlayJob, merged: CommitSha
) -> None:
    """Where a job deploys to is said in the repository, and may be another place than its name
    tells of: what opens one environment must not open another."""
    for other in settled(context, state).environments:
        if other.name == intent.environment:
            continue
        made = await context.reader.deployment(state.request.project, other.name, merged)
        if made is not None and made.job == intent.job:
            raise Refused(
                f"By the project's CI file this job deploys to `{other.name}`, and not to "
                f"`{intent.environment}`. It was not started: correct the file or the settings."
            )


def _done(effect: Effect[PlayJob], job: Job) -> EffectDone:
    return EffectDone(
        key=effect.key,
        effect=EffectKind.PLAY_JOB,
        result=f"started {job.name} for {effect.intent.environment}",
        url=job.url,
    )


def _subject(state: RunState, intent: PlayJob) -> str:
    return f"start job {intent.job}, which deploys to {intent.environment}"


PLAY_JOB = Handler(subject=_subject, act=_play, stands=_stands)
