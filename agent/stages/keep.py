"""How a run ends, and what is kept of it: whatever was changed goes to the run's branch."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.branch import on_branch, published
from agent.errors import JourneymanError
from agent.events import Committed, Escalation, Payload, RunEnded, StatusChanged
from agent.finish import finish_in, last_finish
from agent.intents import Intent, Push
from agent.journal import digest_of
from agent.judge import unfit
from agent.ports import Author
from agent.run import RunStatus
from agent.serialize import commit_message
from agent.work import Hold, Work

AUTHOR = Author(name="Journeyman", email="journeyman@noreply.invalid")
log = logging.getLogger(__name__)


def unpublished(work: Work) -> bool:
    """Is there something that people do not have yet?"""
    checkpoint, last = work.state.checkpoint, published(work)
    if checkpoint is None or checkpoint.tree == (last.tree if last else None):
        return False
    return on_branch(work) is not None or bool(checkpoint.files)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A commit for the log, and the body that its recipe names."""

    fact: Committed
    record: bytes


async def commit(work: Work, at: datetime) -> Made | None:
    """The newest checkpoint, on top of the branch; None when people have all of it already."""
    checkpoint, parent = work.state.checkpoint, on_branch(work)
    if checkpoint is None or not unpublished(work):
        return None
    said = last_finish(work.context.messages)
    message = commit_message(work.state.request, work.state.run, said.summary if said else "")
    before = {made.commit for made in work.state.commits}
    base = parent.commit if parent else work.base
    made = await work.vault.commit(checkpoint.tree, base, message, author=AUTHOR, at=at)
    while made in before:  # tried in this very second, and refused: another one is wanted
        at += timedelta(seconds=1)
        made = await work.vault.commit(checkpoint.tree, base, message, author=AUTHOR, at=at)
    record = await work.vault.record(made)
    fact = Committed(
        commit=made,
        tree=checkpoint.tree,
        files=checkpoint.files,
        title=message.partition("\n")[0],
        recipe=digest_of(record),
    )
    return Made(fact=fact, record=record)


async def end(
    work: Work,
    status: RunStatus,
    reason: str,
    *,
    escalation: Escalation | None = None,
    error_id: str = "",
) -> None:
    """Ends a run that did not succeed; its changes are committed and pushed as they stand, unless
    they may not leave, or would take the place of what an earlier run has published."""
    parent = on_branch(work)
    made: Made | None = None
    refusal = ""
    try:
        saved = await work.snapshot()
        if saved.payloads:
            await work.journal.write(*saved.payloads, bodies=saved.bodies)
        tried = work.state.commits[-1].tree if work.state.commits else None
        if work.state.checkpoint is not None and work.state.checkpoint.tree != tried:
            refusal = await unfit(work)
            replaces = parent is None and work.state.request.follows is not None
            made = None if refusal or replaces else await commit(work, work.state.updated_at)
    except JourneymanError as error:
        log.warning("run_not_kept", extra={"run": work.state.run, "problem": str(error)})
    intents: tuple[Intent, ...] = ()
    if made is not None:
        intents = (Push(commit=made.fact.commit, expected=parent.commit if parent else None),)
    ended = RunEnded(
        status=status,
        reason=f"{reason} {refusal or kept(work, made.fact if made else None)}".strip(),
        escalation=escalation,
        error_id=error_id,
    )
    facts, bodies = ([made.fact], [made.record]) if made else ([], [])
    await work.journal.write(*facts, ended, bodies=bodies, intents=intents)


def kept(work: Hold, made: Committed | None) -> str:
    """What is left of the run, as a sentence."""
    last = made or on_branch(work)
    if last is None and work.state.checkpoint and work.state.checkpoint.files:
        after = "" if work.state.request.follows else "; a retry publishes it"
        return f"The change is kept in the run's record{after}."
    if last is None:
        return "Nothing was changed."
    count = len({c.tree for c in (*work.state.commits, last)})
    branch = "The branch" if work.project.local else f"Branch {work.journal.run.branch}"
    return f"{branch} is kept with {count} commit{'s' if count > 1 else ''}."


async def succeed(work: Work) -> None:
    """Unless somebody has said something meanwhile: then the run goes on with it."""
    await work.journal.refresh()
    if work.state.waiting_followups:
        await work.journal.move(RunStatus.WORKING)
        return
    said = last_finish(work.context.messages)
    end = RunEnded(
        status=RunStatus.SUCCEEDED,
        reason=_unverified(work),
        summary=said.summary if said else "",
        answer=said.answer if said else "",
    )
    await ended(work, end)


def _unverified(work: Work) -> str:
    """A test run that did not come to its end proves little: that is said."""
    report = work.state.tests_change
    if report is None or not report.stopped or not work.state.commits:
        return ""
    minutes = max(1, round(report.seconds / 60))
    base = work.state.tests_base
    too = ", and did not before the change either" if base and base.stopped else ""
    return (
        f"The tests did not end within {minutes} min{too}: this change is not verified by them. "
        "Set test_command to one that ends."
    )


async def ended(work: Hold, *payloads: Payload) -> None:
    await work.journal.write(*payloads)
    if work.state.waiting_followups:  # it came while the end was being written
        await work.journal.write(StatusChanged(status=RunStatus.QUEUED), wake=True)


async def park(
    work: Hold, seconds: float, *payloads: Payload, status: RunStatus = RunStatus.WATCHING
) -> None:
    """Lets go of the run; it is looked after again later, or as soon as a hint comes."""
    await work.journal.write(
        *payloads, status=status, wake=True, wake_after=round(max(seconds, 1.0), 3)
    )


async def close(
    work: Hold, status: RunStatus, reason: str, *news: Payload, ours: bool = True
) -> None:
    """Ends a run that watched; what it changed stands in its merge request already, unless the
    branch is not `ours` any more."""
    if status is not RunStatus.SUCCEEDED and ours:
        reason = f"{reason} {kept(work, None)}"
    await ended(work, *news, await last_word(work, status, reason))


async def last_word(work: Hold, status: RunStatus, reason: str) -> RunEnded:
    """With what the model said, where the run came to its own end."""
    said = await finish_in(work.journal) if status is RunStatus.SUCCEEDED else None
    return RunEnded(
        status=status,
        reason=reason,
        summary=said.summary if said else "",
        answer=said.answer if said else "",
    )
