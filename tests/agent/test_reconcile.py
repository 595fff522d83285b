"""What stands at GitLab beside the logs: real store and queue, a GitLab in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from unreadable import spoil

import agent.effects.reconciler
import agent.rounds
from agent.adapters import postgres_rounds as sql
from agent.adapters.database import Database
from agent.adapters.postgres import Connection
from agent.adapters.system_clock import SystemClock
from agent.delivery import Delivery
from agent.effects.reconciler import Reconciler
from agent.errors import ForgeRejected, ForgeUnavailable
from agent.events import (
    DeliveryBegun,
    EffectDone,
    EffectKind,
    MismatchFound,
    Payload,
    RunAccepted,
    RunEnded,
    RunEvent,
    StatusChanged,
    WorkspaceReady,
)
from agent.hints import Hints
from agent.intents import PublishMergeRequest
from agent.mergerequest import marker
from agent.ports import MergeRequest, Write
from agent.reconcile import BranchLeft, Turned, compare, run_of
from agent.rounds import AGAIN, EVERY, Round, due
from agent.run import (
    CommitSha,
    Follows,
    Limits,
    Person,
    Request,
    RunId,
    RunStatus,
    Thread,
    Upkeep,
)
from agent.state import RunState, fold
from agent.testing import FakeForge

PROJECT = "group/project"
SHA = CommitSha("a" * 40)
AT = datetime(2026, 5, 4, tzinfo=UTC)
DOWN = ForgeUnavailable("GitLab does not answer.")
REQUEST = Request(
    text="do it",
    project=PROJECT,
    base_branch=None,
    requester=Person(id="U1", name="mia"),
    thread=Thread(team="T1", channel="C1", ts="1.0"),
    message="1.0",
)
READY = WorkspaceReady(base=SHA, branch="main", files=1, seconds=0.1)


class Scene:
    def __init__(self, db: Database) -> None:
        self.db = db
        self.forge = FakeForge(clone_url="")
        self.heard: list[RunId] = []

    async def begin(self, *payloads: Payload, number: int = 1) -> RunId:
        """A run whose branch stands at GitLab."""
        request = replace(REQUEST, message=f"{number}.0")
        run, _ = await self.db.store.create(f"key{number}", request, Limits())
        await self.add(run.id, READY, *payloads)
        self.forge.branches[f"agent/{run.id}"] = SHA
        return run.id

    async def add(self, run: RunId, *payloads: Payload) -> None:
        await self.db.store.write(run, Write(payloads=payloads), actor="worker")

    async def shown(self, run: RunId, **more: object) -> MergeRequest:
        """Its merge request, which the log knows of."""
        made = await self.opened(run, f"agent/{run}")
        done = EffectDone(
            key=f"{run}:merge_request:{SHA}",
            effect=EffectKind.OPEN_MERGE_REQUEST,
            result=f"!{made.iid}",
            iid=made.iid,
        )
        await self.add(run, done)
        return self.forge.change(made.iid, **more)

    async def opened(self, run: RunId, branch: str, target: str = "main") -> MergeRequest:
        self.forge.requests.append(
            request(len(self.forge.requests) + 1, branch, target=target, text=marker(run))
        )
        return self.forge.requests[-1]

    async def waits(self, run: RunId, status: RunStatus) -> None:
        at_work = StatusChanged(status=RunStatus.WORKING)
        await self.add(run, at_work, StatusChanged(status=status))

    def reconciler(self) -> Reconciler:
        async def heard(run: RunId) -> None:
            self.heard.append(run)

        return Reconciler(
            store=self.db.store,
            reader=self.forge,
            writer=self.forge,
            runs=self.db.rounds,
            hints=Hints(self.db.store, on_waiting=heard),
            project=PROJECT,
        )

    async def round(self) -> bool:
        return await self.reconciler().make(None, datetime.now(UTC))

    async def age(self) -> None:
        """Whatever has changed did so longer ago than a round looks back beyond a whole one."""
        await self.db.pool.execute("UPDATE runs SET updated_at = now() - interval '2 hours'")

    async def found(self, run: RunId) -> Sequence[MismatchFound]:
        return fold(await self.db.store.events(run)).mismatches


@pytest.fixture
def scene(db: Database) -> Scene:
    return Scene(db)


def request(iid: int, branch: str, *, target: str = "main", text: str = "") -> MergeRequest:
    return MergeRequest(
        project=PROJECT,
        iid=iid,
        url="",
        title="Do it",
        description=text,
        state="opened",
        draft=True,
        source_branch=branch,
        target_branch=target,
        sha=SHA,
        author_id=99,
    )


def ended(status: RunStatus = RunStatus.ESCALATED) -> RunEnded:
    return RunEnded(status=status, reason="It could not.")


def state(*payloads: Payload, of: Request = REQUEST) -> RunState:
    log = (RunAccepted(request=of, limits=Limits()), READY, *payloads)
    return fold(
        RunEvent(run=RunId(7), seq=seq, at=AT, actor="worker", payload=payload, hash="")
        for seq, payload in enumerate(log, 1)
    )


# --- what is compared


@pytest.mark.parametrize(
    ("branch", "run"),
    [
        ("agent/7", 7),
        ("agent/7-0af3", 7),
        ("agent/7-revert-1", None),
        ("agent/07", None),
        ("agent/0", None),
        ("agent/7/x", None),
        ("agent/7-xyz", None),
        ("Agent/7", None),
        ("agent/9999999999999999999", None),
        ("main", None),
    ],
)
def test_whose_a_branch_would_be(branch: str, run: int | None):
    assert run_of(branch) == run


def test_a_branch_with_the_mark_of_another_database_is_nobodys():
    marked = state(ended(), of=replace(REQUEST, mark="ab"))
    assert compare([marked], ["agent/7", "agent/7-cd"], []) == []
    assert compare([marked], ["agent/7-ab"], []) == [BranchLeft(state=marked)]


def test_a_night_that_went_on_with_another_ones_branch_has_left_none():
    follows = Follows(runs=(RunId(3),), branch="agent/7", iid=2, head=SHA)
    night = state(ended(), of=replace(REQUEST, upkeep=Upkeep(follows=follows)))
    assert compare([night], ["agent/7"], []) == []


@pytest.mark.parametrize("turned", ["merged", "closed"])
def test_what_the_run_itself_has_merged_is_no_news(turned: str):
    done = EffectDone(key="k", effect=EffectKind.OPEN_MERGE_REQUEST, result="!2", iid=2)
    begun = DeliveryBegun(
        number=1, kind="change", source="agent/7", target="main", iid=2, merged=SHA
    )
    delivering = StatusChanged(status=RunStatus.DELIVERING)
    standing = replace(request(2, "agent/7"), state=turned)
    own = state(done, begun, delivering)
    assert isinstance(own.deliveries[0], Delivery)
    assert compare([own], ["agent/7"], [standing]) == []
    watching = state(done, StatusChanged(status=RunStatus.WATCHING))
    (found,) = compare([watching], ["agent/7"], [standing])
    assert isinstance(found, Turned)
    assert found.what == turned


# --- what is done about it


async def test_a_branch_that_was_left_is_told_of_once_by_two_processes_at_once(scene: Scene):
    run = await scene.begin(ended())
    for _ in range(2):
        assert all(await asyncio.gather(scene.round(), scene.round()))
    (found,) = await scene.found(run)
    assert found.what == "branch_left"
    assert f"agent/{run}" in found.reason
    assert (await scene.db.store.run(run)).status is RunStatus.ESCALATED


async def test_a_merge_request_of_anybody_shows_the_branch(scene: Scene):
    run = await scene.begin(ended())
    scene.forge.requests.append(replace(request(1, f"agent/{run}"), author_id=5, state="closed"))
    assert await scene.round()
    assert await scene.found(run) == ()


async def test_of_runs_of_another_project_and_of_none_nothing_is_said(scene: Scene):
    run = await scene.begin(ended())
    scene.forge.branches["agent/999999999999999999"] = SHA
    await scene.db.pool.execute("UPDATE runs SET project = 'group/other'")
    assert not await scene.round()
    await scene.begin(number=2)
    assert await scene.round()
    assert await scene.found(run) == ()


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (StatusChanged(status=RunStatus.WORKING), "I go on with !1; !2 should be closed."),
        (ended(RunStatus.SUCCEEDED), "!1 is the one to keep; !2 should be closed."),
    ],
    ids=["at work", "ended"],
)
async def test_two_merge_requests_are_told_of_once(scene: Scene, payload: Payload, words: str):
    run = await scene.begin()
    await scene.shown(run)
    await scene.add(run, payload)
    await scene.opened(run, f"agent/{run}", "develop")
    for _ in range(2):
        assert await scene.round()
    (found,) = await scene.found(run)
    assert (found.what, found.iids) == ("twice", (1, 2))
    assert words in found.reason
    assert ("I go on" in found.reason) is ("I go on" in words)
    assert scene.forge.calls.count("merge_requests") == 1
    assert [each.state for each in scene.forge.requests] == ["opened", "opened"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"state": "merged"}, "!1 was merged into main at GitLab"),
        ({"state": "closed"}, "!1 was closed at GitLab"),
        ({"target_branch": "develop"}, "!1 was given another target, develop, at GitLab"),
    ],
)
async def test_who_is_asked_something_hears_what_became_of_the_merge_request(
    scene: Scene, how: dict[str, str], words: str
):
    run = await scene.begin()
    await scene.shown(run, **how)
    await scene.waits(run, RunStatus.WAITING_FOR_ANSWER)
    for _ in range(2):
        assert await scene.round()
    (found,) = await scene.found(run)
    assert words in found.reason
    assert found.iids == (1,)


async def test_who_set_a_run_going_again_is_not_told_once_more_why_it_had_ended(scene: Scene):
    run = await scene.begin()
    await scene.shown(run, state="closed")
    await scene.add(run, ended(), StatusChanged(status=RunStatus.QUEUED))
    await scene.waits(run, RunStatus.WAITING_FOR_ANSWER)
    assert await scene.round()
    assert await scene.found(run) == ()


async def test_a_run_that_waits_for_a_gate_is_looked_after(scene: Scene):
    run = await scene.begin()
    await scene.shown(run, state="closed")
    await scene.waits(run, RunStatus.WAITING_FOR_APPROVAL)
    assert await scene.round()
    assert scene.heard == [run]
    assert await scene.found(run) == ()


async def test_a_run_that_watches_is_woken(scene: Scene):
    run = await scene.begin()
    await scene.shown(run, state="merged")
    watching = Write(payloads=(StatusChanged(status=RunStatus.WATCHING),), wake=True)
    await scene.db.store.write(run, replace(watching, wake_after=3600.0), actor="worker")
    await scene.db.pool.execute("UPDATE engine.pgqueuer SET created = now() - interval '1 hour'")
    assert await scene.round()
    due_now = "SELECT bool_or(execute_after <= now()) FROM engine.pgqueuer WHERE status = 'queued'"
    assert await scene.db.pool.fetchval(due_now)


@pytest.mark.parametrize("queued", [True, False], ids=["later", "nowhere"])
async def test_effects_that_are_asleep_are_woken(scene: Scene, queued: bool):
    run = await scene.begin(StatusChanged(status=RunStatus.PUBLISHING))
    intents = (PublishMergeRequest(commit=SHA),)
    await scene.db.store.write(run, Write(payloads=(), intents=intents), actor="worker")
    of_effects = "dedupe_key LIKE 'effects:%'"
    if queued:
        late = "UPDATE engine.pgqueuer SET execute_after = now() + interval '1 day'"
        await scene.db.pool.execute(f"{late} WHERE {of_effects}")
    else:
        await scene.db.pool.execute(f"DELETE FROM engine.pgqueuer WHERE {of_effects}")
    for _ in range(2):
        assert await scene.round()
    ready = f"SELECT execute_after <= now() AS ready FROM engine.pgqueuer WHERE {of_effects}"
    assert [row["ready"] for row in await scene.db.pool.fetch(ready)] == [True]


# --- how often, and what goes wrong


async def test_without_runs_nobody_is_asked_and_with_them_two_lists_are(scene: Scene):
    assert not await scene.round()
    assert scene.forge.calls == []
    for number in range(1, 6):
        run = await scene.begin(number=number)
        await scene.shown(run)
        await scene.add(run, ended(RunStatus.SUCCEEDED))
    assert await scene.round()
    assert scene.forge.calls == ["branch_names", "merge_requests_of"]


async def test_a_run_that_cannot_be_read_keeps_no_other_from_being_compared(
    scene: Scene, caplog: pytest.LogCaptureFixture
):
    unreadable, other = [await scene.begin(ended(), number=number) for number in (1, 2)]
    await spoil(scene.db, unreadable)
    assert await scene.round()
    assert len(await scene.found(other)) == 1
    assert "run_uncompared" in caplog.text


async def test_a_finding_that_breaks_keeps_no_other_from_being_seen_to(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
):
    broken, *others = [await scene.begin(ended(), number=number) for number in range(1, 5)]
    listed = scene.forge.merge_requests

    async def breaks(project: str, branch: str) -> Sequence[MergeRequest]:
        if branch == f"agent/{broken}":
            raise KeyError("iid")
        return await listed(project, branch)

    monkeypatch.setattr(scene.forge, "merge_requests", breaks)
    assert await scene.round()
    assert [len(await scene.found(run)) for run in (broken, *others)] == [0, 1, 1, 1]


async def test_only_so_much_is_asked_in_one_round(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(agent.effects.reconciler, "LOOKS", 2)
    runs = [await scene.begin(ended(), number=number) for number in range(1, 5)]
    await scene.age()
    reconciler, now = scene.reconciler(), datetime.now(UTC)
    assert await reconciler.make(None, now)
    assert scene.forge.calls.count("merge_requests") == 2
    assert "reconciled_in_part" in caplog.text
    await scene.age()
    assert await reconciler.make(now, now)
    assert [len(await scene.found(run)) for run in runs] == [1, 1, 1, 1]
    assert scene.forge.calls.count("merge_requests") == 4
    await scene.age()
    assert not await reconciler.make(now, now)  # all has been looked at


async def test_what_the_lists_have_left_out_is_found_by_a_later_round(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
):
    runs = [await scene.begin(ended(), number=number) for number in range(1, 3)]
    await scene.age()
    now = datetime.now(UTC)
    with monkeypatch.context() as within:
        within.setattr(agent.effects.reconciler, "MOST", 1)
        assert await scene.reconciler().make(now, now)
    await scene.age()
    assert await scene.reconciler().make(now, now)
    assert [len(await scene.found(run)) for run in runs] == [1, 1]


async def test_one_finding_that_gitlab_refuses_takes_no_other_with_it_and_comes_again(
    scene: Scene,
):
    runs = [await scene.begin(ended(), number=number) for number in range(1, 4)]
    now = datetime.now(UTC)
    scene.forge.faults["merge_requests"] = [ForgeRejected("No.", status=403)]
    assert await scene.reconciler().make(now, now)
    assert sum([len(await scene.found(run)) for run in runs]) == 2
    await scene.age()
    assert await scene.reconciler().make(now, now)
    assert [len(await scene.found(run)) for run in runs] == [1, 1, 1]


async def test_gitlab_that_is_away_is_asked_again_and_one_that_refuses_tomorrow(scene: Scene):
    run = await scene.begin(ended())
    rounds, clock = scene.db.rounds, SystemClock()
    round_ = Round(name="r", make=scene.reconciler().make, rounds=rounds, clock=clock)
    for method in ("branch_names", "merge_requests_of", "merge_requests"):
        scene.forge.faults[method] = [DOWN]
        with pytest.raises(ForgeUnavailable):
            await round_.once(starts=True)
        assert (await rounds.last("r"))[0] is None
    assert await scene.found(run) == ()
    assert await round_.once(starts=True)
    assert len(await scene.found(run)) == 1
    assert not await round_.once(starts=True)  # a moment ago
    scene.forge.faults["branch_names"] = [ForgeRejected("No.", status=403)]
    await scene.db.pool.execute("DELETE FROM leases")
    assert await round_.once(starts=True)


async def test_a_start_right_after_that_of_another_one_makes_its_round_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(agent.rounds, "FRESH", timedelta(minutes=5))
    rounds, slept, made = scene.db.rounds, list[float](), list[int]()
    over = asyncio.Event()

    async def make(last: datetime | None, now: datetime) -> bool:
        made.append(len(slept))
        return True

    class Quick(SystemClock):
        async def sleep(self, seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 1:  # time goes by
                past = "UPDATE leases SET until = until - interval '10 minutes'"
                await scene.db.pool.execute(past)
            if len(slept) == 3:
                over.set()
                await asyncio.Event().wait()

    now = (await rounds.last("r"))[1]
    await rounds.made("r", now - timedelta(seconds=1))
    round_ = Round(name="r", make=make, rounds=rounds, clock=Quick())
    serving = asyncio.create_task(round_.serve())
    await asyncio.wait({serving, asyncio.create_task(over.wait())}, return_when="FIRST_COMPLETED")
    assert (slept, made) == ([EVERY] * 3, [1])
    serving.cancel()
    await asyncio.wait({serving})


async def test_of_two_that_start_at_once_one_makes_the_round(scene: Scene):
    await scene.begin(ended())
    began: list[int] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def make(last: datetime | None, now: datetime) -> bool:
        began.append(1)
        begun.set()
        await go_on.wait()
        return True

    round_ = Round(name="r", make=make, rounds=scene.db.rounds, clock=SystemClock())
    first, second = (asyncio.create_task(round_.once(starts=True)) for _ in range(2))
    await begun.wait()
    go_on.set()
    assert sorted(await asyncio.gather(first, second)) == [False, True]
    assert began == [1]


@pytest.mark.parametrize("problem", [RuntimeError("a defect"), DOWN, ForgeRejected("No.")])
async def test_a_round_that_breaks_is_made_again_and_takes_nothing_with_it(
    scene: Scene, problem: Exception
):
    problems, slept = [problem], list[float]()
    done = asyncio.Event()

    async def make(last: datetime | None, now: datetime) -> bool:
        if problems:
            raise problems.pop()
        return True

    class Quick(SystemClock):
        async def sleep(self, seconds: float) -> None:
            slept.append(seconds)
            if (await scene.db.rounds.last("r"))[0]:
                done.set()
                await asyncio.Event().wait()

    round_ = Round(name="r", make=make, rounds=scene.db.rounds, clock=Quick())
    serving = asyncio.create_task(round_.serve())
    await asyncio.wait({serving, asyncio.create_task(done.wait())}, return_when="FIRST_COMPLETED")
    assert not serving.done()
    assert slept == [AGAIN, EVERY]
    serving.cancel()
    await asyncio.wait({serving})


async def test_what_a_round_asks_of_ten_thousand_runs_is_found_by_indexes(
    scene: Scene, owner: Connection
):
    run = await scene.begin(ended(), number=2)
    await owner.execute(
        """INSERT INTO runs (key, team, channel, thread_ts, message_ts, project, status, request,
                             limits, updated_at)
           SELECT 'old' || n, 'T', 'C', n, n, 'group/project', 'succeeded', '{}', '{}',
                  now() - interval '30 days'
           FROM generate_series(1, 10000) n"""
    )
    await owner.execute("ANALYZE runs")
    hour = datetime.now(UTC) - timedelta(hours=1)
    asked: dict[str, tuple[object, ...]] = {
        sql.ANY: (PROJECT, hour, ["watching", "delivering"]),
        sql.CHANGED: (PROJECT, [run, 1, 2], hour, ["succeeded"]),
        sql.THREADS: (["waiting_for_answer"], 200),
    }
    for query, values in asked.items():
        plan = await scene.db.pool.fetch(f"EXPLAIN {query}", *values)
        told = "\n".join(row["QUERY PLAN"] for row in plan)
        assert "Seq Scan" not in told, told


@pytest.mark.parametrize(
    ("last", "now", "starts", "is_due"),
    [
        (None, "04T12:00", False, True),
        ("04T11:00", "04T12:00", False, False),
        ("04T11:00", "04T12:00", True, True),
        ("04T11:59:30", "04T12:00", True, False),
        ("04T02:59", "04T03:00", False, True),
        ("04T03:00", "05T02:59", False, False),
        ("04T03:00", "05T03:00", False, True),
        ("03T04:00", "04T02:00", False, False),
    ],
)
def test_a_round_is_due_at_a_start_and_once_a_night(
    last: str | None, now: str, starts: bool, is_due: bool
):
    def at(text: str) -> datetime:
        return datetime.fromisoformat(f"2026-05-{text}").replace(tzinfo=UTC)

    assert due(at(last) if last else None, at(now), starts=starts) is is_due
