"""After the merge: the target's pipeline, then what deploys, one environment after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.branch import failures
from agent.delivery import Delivery
from agent.errors import ForgeRejected, NotFound
from agent.events import DeploymentSeen, EffectDone, EffectKind, TargetSeen
from agent.gate import EnvironmentRule
from agent.intents import PlayJob
from agent.journal import digest_of
from agent.passage import Ask, Asked, Bound, Done, Go, Leave, Place, Wait, landing
from agent.pipeline import Job, Judgement, Pipeline, Verdict
from agent.run import CommitSha, Digest, RunStatus
from agent.stages.approach import Waits, newest_gate
from agent.stages.conclude import delivered, left
from agent.stages.gates import Change, Showing, change_of, open_gate
from agent.watch import judge
from agent.work import Hold, Lookout

_SHOWN = frozenset({"pending", "running", "success", "failed", "canceled", "preparing"})


async def land(work: Hold, lookout: Lookout, delivery: Delivery, waited: float) -> Waits | None:
    pipeline, judged, jobs = await _target(work, lookout, delivery)
    seen = TargetSeen(
        delivery=delivery.number, merged=delivery.merged, pipeline=pipeline, judgement=judged
    )
    change = await _change(work, lookout, delivery, jobs)
    places = _places(work, delivery, jobs, change.digest)
    news = [] if seen == delivery.target else [seen]
    fresh = await _deployments(work, lookout, delivery, [place for place, _ in places])
    all_news = (*news, *fresh)
    target, before = delivery.begun.target, delivery.before
    missing = _missing(work, delivery, jobs)
    match landing(judged, before, places, target, work.clock.now(), missing=missing):
        case Leave() as step:
            await left(work, delivery, step, *all_news)
        case Wait() as step:
            return Waits(step=step, news=all_news)
        case Done() as step:
            await work.journal.write(*all_news)
            newest = work.state.delivery
            assert newest is not None
            await delivered(work, newest, step)
        case Asked():
            await work.journal.write(*all_news, status=RunStatus.WAITING_FOR_APPROVAL)
        case Ask(place=place) if not work.state.request.thread.channel:
            where = f" to {place.rule.name}" if place else ""
            told = f"It is merged. Deploying{where} waits at GitLab for people: nobody is asked "
            told += "for what a night did."
            await left(work, delivery, Leave(reason=told), *all_news)
        case Ask(place=place) as ask:
            assert place is not None
            assert delivery.iid is not None
            project = work.state.request.project
            request = await lookout.forge.merge_request(project, delivery.iid)
            showing = Showing(delivery=delivery, request=request, change=change, pipeline=pipeline)
            bound = next(bound for each, bound in places if each == place)
            await open_gate(work, lookout, ask, bound, showing, *all_news)
        case Go(gate=gate, place=place):
            assert place is not None
            play = PlayJob(
                delivery=delivery.number,
                job=place.job.id,
                environment=place.rule.name,
                gate=gate,
            )
            await work.journal.write(*all_news, intents=[play])
    return None


async def _target(
    work: Hold, lookout: Lookout, delivery: Delivery
) -> tuple[Pipeline | None, Judgement, dict[str, Job]]:
    """Of the target branch only: a fast-forward has another pipeline for the same commit. With
    the jobs of all that GitLab ran itself, whichever of them decides."""
    merged = delivery.merged
    assert merged is not None
    try:
        listed = await lookout.forge.pipelines(work.state.request.project, sha=merged)
    except ForgeRejected as error:
        if not isinstance(error, NotFound) and error.status != 403:
            raise
        told = f"GitLab shows no pipelines of this project: {error}"
        return None, Judgement(verdict=Verdict.ABSENT, sentence=told), {}
    ours = [each for each in listed if each.ref == delivery.begun.target]
    return *judge(ours, merged, _since_merge(work)), _own_jobs(ours, merged)


def _own_jobs(pipelines: Sequence[Pipeline], merged: CommitSha) -> dict[str, Job]:
    """By name; of one name the newest, which ran last."""
    own = (each for each in pipelines if each.sha == merged and each.source != "external")
    jobs = [job for each in own for job in each.jobs if not job.external]
    return {job.name: job for job in sorted(jobs, key=lambda job: job.id)}


def _since_merge(work: Hold) -> float:
    for event in reversed(work.journal.events):
        match event.payload:
            case EffectDone(effect=EffectKind.MERGE):
                return (work.clock.now() - event.at).total_seconds()
            case _:
                pass
    return float("inf")  # merged in an earlier delivery


async def _change(
    work: Hold, lookout: Lookout, delivery: Delivery, jobs: Mapping[str, Job]
) -> Change:
    """Asked for only where a job waits to be started."""
    nothing = Change(digest=digest_of(b""), files=())
    waiting = {name for name, job in jobs.items() if job.status == "manual"}
    if delivery.iid is None or waiting.isdisjoint(
        name for rule in work.project.environments for name in rule.jobs
    ):
        return nothing
    try:
        return await change_of(lookout.forge, work.state.request.project, delivery.iid)
    except ForgeRejected:
        return nothing  # the commit itself is what a deployment is bound to


def _places(
    work: Hold, delivery: Delivery, jobs: Mapping[str, Job], diff: Digest
) -> list[tuple[Place, Bound]]:
    state, found = work.state, list[tuple[Place, Bound]]()
    done, failed = {each.key for each in state.done_effects}, failures(work)
    for rule in work.project.environments:
        for job in (jobs[name] for name in rule.jobs if name in jobs):  # in the settings' order
            key = PlayJob(delivery=delivery.number, job=job.id, environment=rule.name).key(
                state.run
            )
            place = Place(
                rule=rule,
                job=job,
                gate=newest_gate(work, delivery, rule.name, job.id),
                played=key in done,
                refused=failed.get(key, ""),
            )
            policy = work.project.settled(delivery.begun.target, rule.name)
            assert policy is not None
            assert delivery.merged is not None
            bound = Bound(
                commit=delivery.merged,
                diff=diff,
                source=delivery.begun.source,
                target=delivery.begun.target,
                policy=policy,
                environment=rule.name,
                job=job.id,
            )
            found.append((place, bound))
    return found


def _missing(work: Hold, delivery: Delivery, jobs: Mapping[str, Job]) -> list[EnvironmentRule]:
    """Environments without a job, though something says that the target deploys there: its rule,
    its pipeline before the merge, or an earlier delivery to it."""
    target = delivery.begun.target
    rule, before = work.project.target(target), delivery.before
    earlier = {
        seen.environment
        for each in work.state.deliveries
        if each.begun.target == target
        for seen in each.deployments
    }
    known = earlier | set(rule.deploys if rule else ())
    had = {job.name for job in before.pipeline.jobs} if before and before.pipeline else set[str]()
    return [
        each
        for each in work.project.environments
        if jobs.keys().isdisjoint(each.jobs)
        and (each.name in known or not had.isdisjoint(each.jobs))
    ]


async def _deployments(
    work: Hold, lookout: Lookout, delivery: Delivery, places: Sequence[Place]
) -> list[DeploymentSeen]:
    """What is new of each environment."""
    news: list[DeploymentSeen] = []
    shown: dict[str, Place] = {}
    for place in places:  # of several jobs the one that is being waited for, else the last
        before = shown.get(place.rule.name)
        if before is None or before.job.status == "success":
            shown[place.rule.name] = place
    for place in shown.values():
        if place.job.status not in _SHOWN:
            continue
        name, known = place.rule.name, delivery.deployment(place.rule.name)
        if known is not None and known.job == place.job:
            continue
        news.append(
            DeploymentSeen(
                delivery=delivery.number,
                environment=name,
                job=place.job,
                url=await _url(work, lookout, delivery, name),
            )
        )
    return news


async def _url(work: Hold, lookout: Lookout, delivery: Delivery, environment: str) -> str:
    assert delivery.merged is not None
    try:
        made = await lookout.forge.deployment(
            work.state.request.project, environment, delivery.merged
        )
    except ForgeRejected:
        return ""
    return made.url if made else ""
