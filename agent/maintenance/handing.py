"""What a night changed becomes a run: published, watched and merged by the rules of all others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from agent.events import (
    CheckpointTaken,
    Payload,
    PlanMade,
    StatusChanged,
    StopAsked,
    TestsRan,
    WorkspaceReady,
)
from agent.journal import digest_of
from agent.maintenance.diary import Diary, Due
from agent.maintenance.night import Group, LeftOut, TaskReport
from agent.maintenance.standing import Registry, Standing, standing, thread_of
from agent.maintenance.workshop import Night
from agent.plan import Plan, PlanStep, StepStatus
from agent.ports import Collected, Write
from agent.run import ENDED, Person, Request, Run, RunStatus, Upkeep

#: Stands where a run of the day has the person who asked.
NIGHT = Person(id="maintenance", name="nightly maintenance")

REMEMBERED = timedelta(days=90)  #: what people have been told of


@dataclass(frozen=True, kw_only=True)
class _Change:
    """A group, and what stands of its kind."""

    group: Group
    made: Collected
    patch: bytes
    there: Standing


async def hand_over(
    registry: Registry, diary: Diary, night: Night, due: Due, report: TaskReport
) -> TaskReport:
    """One run for each group, made once however often this is called. A run has no thread: the
    digest tells of it. Of each kind at most one merge request is open: a new run takes it over,
    or what it would change waits, or people have said no to it. Everything is looked up before
    anything is begun, so while GitLab does not answer nothing is."""
    changes = [await _looked_up(registry, night, due, group) for group in report.groups]
    groups: list[Group] = []
    for change in changes:
        iid = _refused(change)
        if not iid:
            groups.append(await _given(registry, night, due, change))
            continue
        report, told = _left_out(report, change, iid)
        if not await _told_before(diary, night, due, told):
            groups.append(told)
    return replace(report, groups=tuple(groups))


async def _looked_up(registry: Registry, night: Night, due: Due, group: Group) -> _Change:
    made = await night.difference(group.tree)
    patch = made.patch.encode("utf-8", "surrogateescape")
    there = await standing(registry, night.project.path, night.branch, due.task, group.kind)
    group = replace(group, difference=digest_of(patch))
    return _Change(group=group, made=made, patch=patch, there=there)


async def _given(registry: Registry, night: Night, due: Due, change: _Change) -> Group:
    """To a run: a new one, or one that has published just this, or will."""
    group, there = change.group, change.there
    if same := _same(change):
        return replace(group, run=same.id, branch=same.branch)
    if there.waits:
        assert there.run is not None
        return replace(group, run=there.run.id, branch=there.run.branch, waits=there.waits)
    if there.follows and there.run and there.run.status not in ENDED:
        told = f"A later night changes !{there.follows.iid} anew, so this run has let go of it."
        asked = StopAsked(by=NIGHT, how="a later night", reason=told)
        await registry.store.ask_stop(there.run.id, asked, actor=NIGHT.id)
    request = _request(night, due, change)
    key = f"{night.project.path}:{request.thread.ts}:{there.after}"
    born = _born(night, group, change.made, change.patch)
    run, ours = await registry.store.create(key, request, night.project.limits, born=born)
    waits = ""
    if not ours and _upkeep(run).difference != group.difference:
        waits = f"Run {run.id} is at work on this already."
    return replace(group, run=run.id, branch=run.branch, waits=waits)


def _same(change: _Change) -> Run | None:
    """The run that has this very change: at work, before people, or merged by them."""
    there, wanted = change.there, change.group.difference
    if there.follows is not None:
        return there.run if there.shown == wanted else None
    return next((run for run in there.stand if _upkeep(run).difference == wanted), None)


def _refused(change: _Change) -> int:
    """The merge request whose closing was a no to all of it; 0: there is none."""
    no: dict[str, int] = {}
    for each in reversed(change.there.closed):
        upkeep, iid = _upkeep(each.run), each.request.iid
        no |= dict.fromkeys(upkeep.offers, iid)
        if upkeep.difference == change.group.difference:
            return iid
    offers = change.group.offers
    return no[offers[0]] if offers and all(offer in no for offer in offers) else 0


def _left_out(report: TaskReport, change: _Change, iid: int) -> tuple[TaskReport, Group]:
    """Nothing of it is published; what it would have updated still is behind."""
    until = "the next version" if change.group.offers else "another change"
    told = f"!{iid} was closed without being merged: that is a no until there is {until}."
    offers = set(change.group.offers)
    gone = [update for update in report.updates if update.offer in offers]
    report = replace(
        report,
        updates=tuple(update for update in report.updates if update.offer not in offers),
        left_out=(
            *report.left_out,
            *(LeftOut(update=update, reason=told, refused=True) for update in gone),
        ),
    )
    by = next(each.run for each in change.there.closed if each.request.iid == iid)
    return report, replace(change.group, run=by.id, branch=by.branch, waits=told)


async def _told_before(diary: Diary, night: Night, due: Due, group: Group) -> bool:
    since = due.fire_at - REMEMBERED
    entries = await diary.entries(since=since, project=night.project.path, task=due.task)
    told = [g for each in entries if each.report and each.id != due.id for g in each.report.groups]
    return any((g.kind, g.offers, g.waits) == (group.kind, group.offers, group.waits) for g in told)


def _request(night: Night, due: Due, change: _Change) -> Request:
    return Request(
        text=change.group.title,
        project=night.project.path,
        base_branch=night.branch,
        requester=NIGHT,
        thread=thread_of(night.project.path, due.task, change.group.kind),
        message=f"{due.id}",
        upkeep=Upkeep(
            offers=change.group.offers,
            difference=change.group.difference,
            follows=change.there.follows,
        ),
    )


def _upkeep(run: Run) -> Upkeep:
    return run.request.upkeep or Upkeep()


def _born(night: Night, group: Group, made: Collected, patch: bytes) -> Write:
    """The log of a run whose work is done: it goes on with publishing."""
    step = PlanStep(title=group.title, status=StepStatus.COMPLETE)
    payloads: list[Payload] = [
        WorkspaceReady(base=group.base, branch=night.branch, files=len(night.paths), seconds=0.0),
        PlanMade(plan=Plan(steps=(step,))),
        CheckpointTaken(tree=made.tree, patch=digest_of(patch), files=made.files),
    ]
    for where, tests in (("base", group.tests_before), ("change", group.tests_after)):
        if tests is not None:
            payloads.append(TestsRan(report=tests, where="base" if where == "base" else "change"))
    return Write(payloads=(*payloads, StatusChanged(status=RunStatus.PUBLISHING)), bodies=(patch,))
