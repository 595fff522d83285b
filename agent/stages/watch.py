"""The pipeline of the published commit, looked at once a wake-up; nothing waits in memory."""

from __future__ import annotations

import logging

from agent.branch import published
from agent.errors import ForgeRejected, ForgeUnavailable, GitFailed, NotFound
from agent.events import (
    Committed,
    HoldLifted,
    InstructionGiven,
    Payload,
    PipelineSeen,
    QuestionAnswered,
    RunEnded,
    StatusChanged,
)
from agent.ownership import lost, own_request
from agent.pace import Pace
from agent.pipeline import Judgement, Pipeline, Verdict
from agent.ports import MergeRequest
from agent.review import instructions
from agent.run import RunStatus
from agent.stages.approach import started
from agent.stages.keep import close, park
from agent.stages.red import passed_again, red
from agent.watch import judge
from agent.work import Hold, Lookout

log = logging.getLogger(__name__)
PATIENT = frozenset({Verdict.AWAITED, Verdict.RUNNING, Verdict.BLOCKED, Verdict.MANUAL})


async def watch(work: Hold, lookout: Lookout) -> None:
    """Parks the run, ends it, or sets it to work again."""
    run, pace = work.state.run, lookout.pace
    if work.state.waiting_followups:
        pace.forget(run)
        await work.journal.write(StatusChanged(status=RunStatus.WORKING), wake=True)
        return
    if (left := pace.left(run)) > 0:
        await park(work, left)
        return
    commit = published(work)
    assert commit is not None, "only what was published is watched"
    pace.asks(run)
    try:
        request = await own_request(work, lookout)
        if gone := await lost(work, lookout, commit, request):
            await close(work, gone.status, gone.reason)
        elif not await _reviewed(work, lookout, request):
            await _look(work, lookout, commit, request.pipeline if request else None)
    except ForgeUnavailable as error:
        await _wait(work, pace, str(error), error.retry_after or 0.0)
    except GitFailed as error:
        await _wait(work, pace, str(error), 0.0)
    if work.state.status is not RunStatus.WATCHING:
        pace.forget(run)


def goes_on_watching(work: Hold) -> bool:
    """Was the run set going again, without a word, after it had ended with all its work in front
    of people and no green pipeline?"""
    state, commit = work.state, published(work)
    if work.lookout is None or state.status is not RunStatus.QUEUED or commit is None:
        return False
    if state.interrupted is not None:
        return False  # a freeze found it at work
    if commit != state.commits[-1] or not state.checkpoint or state.checkpoint.tree != commit.tree:
        return False
    for event in reversed(work.journal.events):
        match event.payload:
            case RunEnded():
                return True
            case QuestionAnswered() | InstructionGiven() | HoldLifted():
                return False
            case _:
                pass
    return False


async def _reviewed(work: Hold, lookout: Lookout, request: MergeRequest | None) -> bool:
    """Sets the run to work on new comments. Asks for them only when their number has changed."""
    if request is None or request.comments == lookout.comments.get(work.state.run, 0):
        return False
    try:
        given = await instructions(lookout.forge, work.state, request)
    except ForgeRejected as error:
        log.warning("review_not_heard", extra={"run": work.state.run, "reason": str(error)})
        given = ()
    if given:
        await work.journal.write(*given, StatusChanged(status=RunStatus.WORKING), wake=True)
    else:
        lookout.comments[work.state.run] = request.comments
    return bool(given)


async def _look(work: Hold, lookout: Lookout, commit: Committed, newest: Pipeline | None) -> None:
    """While the newest pipeline runs, none of the commit's others has to be asked for."""
    waited = _waited(work)
    try:
        listed = [newest] if newest else []
        if judge(listed, commit.commit, waited)[1].verdict is not Verdict.RUNNING:
            listed = await lookout.forge.pipelines(work.state.request.project, sha=commit.commit)
    except ForgeRejected as error:
        if not isinstance(error, NotFound) and error.status != 403:
            raise
        told = f"GitLab shows no pipelines of this project: {error}"
        judged = None, Judgement(verdict=Verdict.ABSENT, sentence=told)
    else:
        judged = judge(listed, commit.commit, waited)
    seen = PipelineSeen(commit=commit.commit, pipeline=judged[0], judgement=judged[1])
    sentence = seen.judgement.sentence
    news = () if seen == work.state.pipeline else (seen,)
    match seen.judgement.verdict:
        case Verdict.GREEN:
            flaky = passed_again(work, commit, seen)
            told = " ".join(each.sentence for triaged in flaky for each in triaged.jobs)
            await _passed(work, commit, told, *news, *flaky)
        case Verdict.ABSENT:
            target = _target(work)
            if work.project.target(target):
                sentence += f" Only what passed is merged into `{target}`, so that is left to you."
            await close(work, RunStatus.SUCCEEDED, sentence, *news)
        case Verdict.RED:
            if not await red(work, lookout, commit, seen):
                await _wait(work, lookout.pace, sentence, 0.0, *news)
        case Verdict.CANCELED | Verdict.SKIPPED | Verdict.OTHER_COMMIT:
            await close(work, RunStatus.ESCALATED, sentence, *news)
        case verdict:
            assert verdict in PATIENT
            await _wait(work, lookout.pace, sentence, 0.0, *news)


async def _passed(work: Hold, commit: Committed, told: str, *news: Payload) -> None:
    """On its way to the target, where something is settled for it."""
    if begun := started(work, commit):
        on = StatusChanged(status=RunStatus.DELIVERING, reason=told)
        await work.journal.write(*news, begun, on, wake=True)
        return
    left = f"There is no rule for `{_target(work)}`, so merging is left to people."
    await close(work, RunStatus.SUCCEEDED, f"{told} {left}".strip(), *news)


def _target(work: Hold) -> str:
    return work.state.workspace.branch if work.state.workspace else ""


async def _wait(work: Hold, pace: Pace, sentence: str, at_least: float, *news: Payload) -> None:
    waited, limit = _waited(work), work.state.limits.pipeline_seconds
    if waited >= limit:
        told = f"The pipeline was waited for {limit / 60:.0f} minutes, and no longer: {sentence}"
        await close(work, RunStatus.ESCALATED, told, *news)
        return
    pause = max(pace.next(waited), at_least)
    await park(work, min(pause, max(limit - waited, 1.0)), *news)


def _waited(work: Hold) -> float:
    """Seconds since the run began to watch its newest commit."""
    for event in reversed(work.journal.events):
        match event.payload:
            case StatusChanged(status=RunStatus.WATCHING):
                return (work.clock.now() - event.at).total_seconds()
            case _:
                pass
    return 0.0
