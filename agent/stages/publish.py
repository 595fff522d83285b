"""The change as a commit, then as a branch and a merge request, which the effect plane makes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from agent.branch import failures, on_branch, published, wanted
from agent.errors import ForgeUnavailable
from agent.events import Committed, RunEnded, StatusChanged
from agent.finish import last_finish
from agent.intents import Intent, LinkBack, Push
from agent.ownership import taken_over
from agent.review import replies
from agent.run import RunStatus
from agent.stages.check import check
from agent.stages.keep import commit, end, park, succeed, unpublished
from agent.work import Work

FIRST_LOOK = 10.0  #: seconds that GitLab has to make the pipeline of a push


async def publish(work: Work) -> None:
    """Leaves the run in PUBLISHING while effects are open: their outcome wakes it."""
    fresh = _committed_now(work)
    if fresh is not None:
        run, failed = work.state.run, failures(work)
        keys = [intent.key(run) for intent in wanted(work, fresh)]
        problems = [failed[key] for key in keys if key in failed]
        if problems:
            await end(work, RunStatus.ESCALATED, problems[0])
            return
        if published(work) != fresh:
            return
    before = on_branch(work)
    if unpublished(work) and (await _lost(work, fresh) or not await check(work)):
        return
    made = await commit(work, _began(work))
    if made is not None:
        intents = _intents(work, made.fact, before)
        await work.journal.write(made.fact, bodies=[made.record], intents=intents)
        return
    if _answered(work) and (answers := replies(work.state, _settled(work), None)):
        await work.journal.write(intents=answers)
    if fresh is not None and work.lookout:
        await park(work, FIRST_LOOK)
    elif fresh is not None or _answered(work):
        await succeed(work)
    else:
        await end(work, RunStatus.ESCALATED, "The model finished without changing anything.")


async def _lost(work: Work, fresh: Committed | None) -> bool:
    """Ends the run where people have taken its merge request over while it was mending it."""
    if fresh is None or work.lookout is None:
        return False
    try:
        lost = await taken_over(work, work.lookout, fresh)
    except ForgeUnavailable:
        return False  # the push has its lease
    if lost is not None:
        await end(work, RunStatus.ESCALATED, lost.reason)
    return lost is not None


def _intents(work: Work, made: Committed, before: Committed | None) -> list[Intent]:
    intents: list[Intent] = []
    for intent in wanted(work, made):
        if isinstance(intent, Push):
            follows = work.state.request.follows
            found = follows.head if follows else None
            intent = replace(intent, expected=before.commit if before else found)
        intents.append(intent)
    if not work.state.commits and not work.project.local:
        linked = work.state.request.linked
        intents += [LinkBack(target=item.kind, iid=item.iid) for item in linked]
    return [*intents, *replies(work.state, _settled(work), made.commit)]


def _settled(work: Work) -> set[str]:
    return {each.key for each in work.state.done_effects} | failures(work).keys()


def _committed_now(work: Work) -> Committed | None:
    """The newest commit since people last set the run going."""
    for event in reversed(work.journal.events):
        match event.payload:
            case Committed() as commit:
                return commit
            case RunEnded():
                return None
            case _:
                pass
    return None


def _began(work: Work) -> datetime:
    """The commit's date comes from the log, so that any host makes the same commit."""
    for event in reversed(work.journal.events):
        match event.payload:
            case StatusChanged(status=RunStatus.PUBLISHING):
                return event.at
            case _:
                pass
    return work.state.updated_at


def _answered(work: Work) -> bool:
    said = last_finish(work.context.messages)
    return bool(said and said.answer)
