"""What takes judgement becomes runs of the agent: few, within the night's money, and once each."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from agent.events import CheckpointTaken, ErrandGiven, Payload, WorkspaceReady
from agent.journal import digest_of
from agent.maintenance.diary import Diary, Due
from agent.maintenance.handing import NIGHT
from agent.maintenance.night import Errand, TaskReport
from agent.maintenance.workshop import Night
from agent.ports import Store, Write
from agent.project import ProjectSettings
from agent.run import ENDED, Limits, Request, RunId, RunStatus, Thread
from agent.state import fold

MOST = 2  #: runs that one task of a night gives the agent
REMEMBERED = timedelta(days=90)
AGAIN = timedelta(days=14)  #: after which the agent may try once more what it has given up
BROKEN = 3  #: runs for the same that broke one after the other: as if it had been given up
#: Where prices are unknown, these hold the cost.
STEPS, TOKENS, SECONDS = 60, 1_000_000, 1800.0

NO_MODEL = "What needs judgement was given to nobody: no model is configured."


async def given(store: Store, diary: Diary, project: str, now: datetime) -> frozenset[str]:
    """What no errand may be about: what an earlier one is at work on, has put before people, or
    gave up lately. What broke on our side, a model that did not answer, may be tried again, but
    not every night."""
    entries = await diary.entries(since=now - REMEMBERED, project=project)
    about: set[str] = set()
    broken: dict[str, int] = {}
    for entry in entries:
        lately = entry.fire_at > now - AGAIN
        for errand in entry.report.errands if entry.report else ():
            if errand.run is None or about.issuperset(errand.about):
                continue
            status = (await store.run(errand.run)).status
            broke = status is RunStatus.FAILED
            if status not in ENDED or (lately and not broke) or await _shown(store, errand.run):
                about.update(errand.about)
                continue
            broken |= {each: broken.get(each, 0) + 1 if broke else 0 for each in errand.about}
            if lately:
                about.update(each for each in errand.about if broken[each] >= BROKEN)
    return frozenset(about)


async def _shown(store: Store, run: RunId) -> bool:
    """A merge request was put before people, whatever they did with it."""
    return fold(await store.events(run)).merge_request is not None


async def give_out(
    store: Store, night: Night, due: Due, report: TaskReport, *, model: bool
) -> TaskReport:
    """Each errand a run, made once however often this is called."""
    money = night.project.maintenance.agent_money
    if not report.errands or money <= 0:
        return replace(report, errands=())
    if not model:
        return replace(report, errands=(), not_given=NO_MODEL)
    errands = report.errands[:MOST]
    limits = limits_of(night.project, len(errands))
    out: list[Errand] = []
    for errand in errands:
        born = await _born(night, errand)
        name = _name(errand)
        request = _request(night, due, name, errand)
        run, _ = await store.create(f"night:{due.id}:errand:{name}", request, limits, born=born)
        out.append(replace(errand, run=run.id))
    return replace(report, errands=tuple(out))


def limits_of(project: ProjectSettings, errands: int) -> Limits:
    """The night's money is shared by its tasks, and then by the errands of each."""
    settled = project.limits
    share = project.maintenance.agent_money / max(len(project.maintenance.tasks), 1) / errands
    return replace(
        settled,
        money=min(settled.money, share) if settled.money > 0 else share,
        steps=min(settled.steps, STEPS),
        tokens=min(settled.tokens, TOKENS // errands),
        seconds=min(settled.seconds, SECONDS),
    )


def _name(errand: Errand) -> str:
    """The same for the same one only: a night that is begun again may come to others."""
    about = "\0".join((errand.kind, *errand.about))
    return digest_of(about.encode("utf-8", "surrogateescape"))[:40]


def _request(night: Night, due: Due, name: str, errand: Errand) -> Request:
    return Request(
        text=errand.text,
        project=night.project.path,
        base_branch=night.branch,
        requester=NIGHT,
        thread=Thread(team="", channel="", ts=f"night:{due.id}:errand:{name}"),
        message=f"{due.id}:errand:{name}",
        context=errand.records,
    )


async def _born(night: Night, errand: Errand) -> Write:
    """The log begins with the terms, and with the tree where that is not the base."""
    payloads: list[Payload] = [
        ErrandGiven(errand=errand),
        WorkspaceReady(base=night.base, branch=night.branch, files=len(night.paths), seconds=0.0),
    ]
    if errand.tree is None:
        return Write(payloads=tuple(payloads))
    made = await night.difference(errand.tree)
    patch = made.patch.encode("utf-8", "surrogateescape")
    payloads.append(CheckpointTaken(tree=made.tree, patch=digest_of(patch), files=made.files))
    return Write(payloads=tuple(payloads), bodies=(patch,))
