"""What a night changed becomes a run: published, watched and merged by the rules of all others."""

from __future__ import annotations

from dataclasses import replace

from agent.events import CheckpointTaken, Payload, PlanMade, StatusChanged, TestsRan, WorkspaceReady
from agent.journal import digest_of
from agent.maintenance.diary import Due
from agent.maintenance.night import Group, TaskReport
from agent.maintenance.workshop import Night
from agent.plan import Plan, PlanStep, StepStatus
from agent.ports import Collected, Store, Write
from agent.run import Person, Request, RunStatus, Thread

#: Stands where a run of the day has the person who asked.
NIGHT = Person(id="maintenance", name="nightly maintenance")


async def hand_over(store: Store, night: Night, due: Due, report: TaskReport) -> TaskReport:
    """One run for each group, made once however often this is called. A run has no thread: the
    digest tells of it."""
    groups: list[Group] = []
    for number, group in enumerate(report.groups, 1):
        key = f"night:{due.id}:{number}"
        run, _ = await store.create(
            key, _request(night, due, group), night.project.limits, born=await _born(night, group)
        )
        groups.append(replace(group, run=run.id, branch=run.branch))
    return replace(report, groups=tuple(groups))


def _request(night: Night, due: Due, group: Group) -> Request:
    return Request(
        text=group.title,
        project=night.project.path,
        base_branch=night.branch,
        requester=NIGHT,
        thread=Thread(team="", channel="", ts=f"night:{due.id}"),
        message=f"{due.id}",
    )


async def _born(night: Night, group: Group) -> Write:
    """The log of a run whose work is done: it goes on with publishing."""
    made = await _difference(night, group)
    patch = made.patch.encode("utf-8", "surrogateescape")
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
