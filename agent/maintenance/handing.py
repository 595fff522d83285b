"""What a night changed becomes a run: published, watched and merged by the rules of all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from agent.events import CheckpointTaken, Payload, PlanMade, StatusChanged, TestsRan, WorkspaceReady
from agent.journal import digest_of
from agent.maintenance.diary import Diary, Due
from agent.maintenance.night import Group, TaskReport
from agent.maintenance.workshop import Night
from agent.plan import Plan, PlanStep, StepStatus
from agent.ports import Collected, Store, Write
from agent.run import Digest, Person, Request, Run, RunStatus, Thread

#: Stands where a run of the day has the person who asked.
NIGHT = Person(id="maintenance", name="nightly maintenance")

REMEMBERED = timedelta(days=90)


async def hand_over(
    store: Store, diary: Diary, night: Night, due: Due, report: TaskReport
) -> TaskReport:
    """One run for each group, made once however often this is called. A run has no thread: the
    digest tells of it. The very change that an earlier night has published is not published
    again: its merge request is open still, or people closed or reverted it, which is a no."""
    earlier = await _earlier(store, diary, night, due)
    groups: list[Group] = []
    for number, group in enumerate(report.groups, 1):
        made = await _difference(night, group)
        patch = made.patch.encode("utf-8", "surrogateescape")
        group = replace(group, difference=digest_of(patch))
        run = earlier.get(group.difference)
        if run is None:
            key = f"night:{due.id}:{number}"
            born = _born(night, group, made, patch)
            request = _request(night, due, group)
            run, _ = await store.create(key, request, night.project.limits, born=born)
        groups.append(replace(group, run=run.id, branch=run.branch))
    return replace(report, groups=tuple(groups))


async def _earlier(
    store: Store, diary: Diary, night: Night, due: Due
) -> Mapping[Digest | None, Run]:
    """Runs of the nights before by what they changed, but for those that came to nothing."""
    since = due.fire_at - REMEMBERED
    entries = await diary.entries(since=since, project=night.project.path, task=due.task)
    found: dict[Digest | None, Run] = {}
    for group in (g for each in entries if each.report for g in each.report.groups):
        if group.difference is not None and group.run is not None:
            run = await store.run(group.run)
            if run.status not in (RunStatus.FAILED, RunStatus.CANCELLED):
                found[group.difference] = run
    return found


def _request(night: Night, due: Due, group: Group) -> Request:
    return Request(
        text=group.title,
        project=night.project.path,
        base_branch=night.branch,
        requester=NIGHT,
        thread=Thread(team="", channel="", ts=f"night:{due.id}"),
        message=f"{due.id}",
    )


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


async def _difference(night: Night, group: Group) -> Collected:
    folder = night.sandbox.new_folder("night")
    try:
        await night.vault.checkout(group.tree, folder)
        return await night.vault.collect(folder, group.base)
    finally:
        night.vault.forget(folder)
        await night.sandbox.remove(folder)
