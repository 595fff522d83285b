"""Who may freeze and stop what, and that the record says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.adapters.database import Database
from agent.errors import ForgeUnavailable, Refused
from agent.events import StatusChanged, StopAsked
from agent.freeze import EVERYWHERE
from agent.operators import OperatorService
from agent.ports import Write
from agent.project import ProjectSettings
from agent.run import Limits, Person, Request, Run, RunStatus, Thread
from agent.state import fold
from agent.testing import FakeForge

LEE = Person(id="U1", name="lee", gitlab_id=5)
MIA = Person(id="U2", name="mia", gitlab_id=7)
PROJECT = "group/project"


class Scene:
    """Lee maintains the project and Mia develops in it; `operators` may do it everywhere."""

    def __init__(self, db: Database, operators: set[int] | None = None) -> None:
        self.db = db
        self.forge = FakeForge(clone_url="", members={5: 40, 7: 30})
        self.service = OperatorService(
            store=db.store,
            forge=self.forge,
            projects=lambda path: ProjectSettings(path=path) if "unknown" not in path else None,
            operators=operators or set(),
        )

    async def run(self, key: str, project: str = PROJECT) -> Run:
        thread = Thread(team="T", channel="C", ts=key)
        request = Request(
            text="add it",
            project=project,
            base_branch=None,
            requester=MIA,
            thread=thread,
            message=key,
        )
        return (await self.db.store.create(key, request, Limits()))[0]

    async def record(self) -> list[tuple[str, str, bool]]:
        """Deed, scope, and whether it was done."""
        rows = await self.db.pool.fetch(
            "SELECT deed, scope, refused FROM operator_events ORDER BY id"
        )
        return [(row["deed"], row["scope"], not row["refused"]) for row in rows]


@pytest.fixture
def scene(db: Database) -> Scene:
    return Scene(db)


async def test_a_maintainer_freezes_and_unfreezes_the_own_project(scene: Scene):
    frozen = await scene.service.freeze(PROJECT, LEE, "it is red")
    assert (frozen.scope, frozen.by.access, frozen.reason) == (PROJECT, 40, "it is red")
    assert await scene.service.freezes() == [frozen]
    assert await scene.service.unfreeze(PROJECT, LEE) == frozen
    assert await scene.service.freezes() == []
    assert await scene.record() == [("freeze", PROJECT, True), ("unfreeze", PROJECT, True)]


async def test_who_may_not_is_refused_each_time_and_recorded(scene: Scene):
    await scene.service.freeze(PROJECT, LEE)
    for deed in (scene.service.freeze, scene.service.unfreeze, scene.service.stop_all):
        with pytest.raises(Refused, match=r"you are a Developer there, Maintainer is needed"):
            await deed(PROJECT, MIA)
    with pytest.raises(Refused, match="I don't know your GitLab account"):
        await scene.service.unfreeze(PROJECT, replace(LEE, gitlab_id=None))
    assert [each.scope for each in await scene.service.freezes()] == [PROJECT]
    assert (await scene.record())[1:] == [
        ("freeze", PROJECT, False),
        ("unfreeze", PROJECT, False),
        ("stop_all", PROJECT, False),
        ("unfreeze", PROJECT, False),
    ]


async def test_access_is_read_at_the_moment_of_the_word(scene: Scene):
    await scene.service.freeze(PROJECT, LEE)
    scene.forge.members[5] = 30
    with pytest.raises(Refused, match="Maintainer is needed"):
        await scene.service.unfreeze(PROJECT, LEE)


async def test_a_right_that_cannot_be_checked_is_none(scene: Scene):
    scene.forge.faults["access"] = [ForgeUnavailable("GitLab does not answer.")]
    with pytest.raises(Refused, match="I can't check whether you may freeze `group/project`"):
        await scene.service.freeze(PROJECT, LEE)
    assert await scene.service.freezes() == []
    assert await scene.record() == [("freeze", PROJECT, False)]


async def test_a_project_that_nobody_listed_is_refused(scene: Scene):
    with pytest.raises(Refused, match="`group/unknown` is not among the projects"):
        await scene.service.freeze("group/unknown", LEE)


async def test_everywhere_is_for_those_in_the_settings_only(db: Database):
    scene = Scene(db, operators={7})
    with pytest.raises(Refused, match=r"listed as `operators` in journeyman\.toml"):
        await scene.service.freeze(EVERYWHERE, LEE)
    await scene.service.freeze(EVERYWHERE, MIA)
    with pytest.raises(Refused, match="listed as `operators`"):
        await scene.service.unfreeze(EVERYWHERE, LEE)
    assert [each.by.name for each in await scene.service.freezes()] == ["mia"]
    with pytest.raises(Refused, match="Maintainer is needed"):
        await scene.service.freeze(PROJECT, MIA)  # being an operator is no right at GitLab
    assert scene.forge.calls == ["access"]


async def test_a_stop_all_that_comes_again_stops_only_what_it_was_said_of(scene: Scene):
    old, going, queued = [await scene.run(f"170000000{n}.000000") for n in range(3)]
    word = "1700000003.000000"
    first = StopAsked(by=LEE, how="stop all", message=word)  # the process ended after these two
    for run in (old, going):
        await scene.db.store.ask_stop(run.id, first, actor=LEE.id)
    again = Write(payloads=(StatusChanged(status=RunStatus.QUEUED),), wake=True)
    await scene.db.store.write(going.id, again, actor=MIA.id)
    since = await scene.run("1700000004.000000")

    stopped = await scene.service.stop_all(PROJECT, LEE, message=word)

    assert [run.id for run in stopped] == [queued.id, old.id]
    rows = [await scene.db.store.run(run.id) for run in (old, going, queued, since)]
    ended, open = RunStatus.CANCELLED, RunStatus.QUEUED
    assert [row.status for row in rows] == [ended, open, ended, open]
    assert len(await scene.service.stop_all(PROJECT, LEE, message="1700000005.000000")) == 2


async def test_stop_all_stops_what_is_open_in_the_scope(db: Database):
    scene = Scene(db, operators={7})
    ours, other, done = (
        await scene.run("1"),
        await scene.run("2", "group/web"),
        await scene.run("3"),
    )
    await db.store.ask_stop(done.id, StopAsked(by=MIA, how="mention"), actor="U2")
    working = await scene.run("4")
    assert await db.store.claim(working.id, "w1") is not None

    stopped = await scene.service.stop_all(PROJECT, LEE)
    assert [run.id for run in stopped] == [working.id, ours.id]
    state = fold(await db.store.events(ours.id))
    assert (state.status, state.reason) == (RunStatus.CANCELLED, "Stopped by @lee.")
    assert state.stop is not None
    assert (state.stop.how, state.stop.by.access) == ("stop all", 40)
    assert (await db.store.run(working.id)).cancel
    assert (await db.store.run(other.id)).status is RunStatus.QUEUED

    assert other.id in [run.id for run in await scene.service.stop_all(EVERYWHERE, MIA)]
    assert (await db.store.run(other.id)).status is RunStatus.CANCELLED
    assert await scene.record() == [("stop_all", PROJECT, True), ("stop_all", "", True)]
