"""A night from its hour to the runs that publish what it changed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from engine_bench import Bench, git
from turned import turned

from agent.adapters.postgres_nights import NightStore
from agent.errors import JourneymanError
from agent.events import CheckpointTaken, RunEnded
from agent.intents import PublishMergeRequest, Push
from agent.maintenance.diary import ATTEMPTS, Due, Entry
from agent.maintenance.findings import Aside
from agent.maintenance.handing import NIGHT
from agent.maintenance.night import Task, TaskReport
from agent.maintenance.shift import NightShift
from agent.maintenance.tasks import Run
from agent.maintenance.workshop import Night
from agent.ports import Origin, Write
from agent.run import RunStatus
from agent.testing import ScriptedModel

EARLIER = datetime(2020, 1, 1, tzinfo=UTC)


async def quiet(night: Night) -> TaskReport:
    return TaskReport(task=Task.LINT, status="nothing")


async def broken(night: Night) -> TaskReport:
    raise JourneymanError("The sandbox is gone.")


def shift(bench: Bench, task: Run, name: str = "n1", lease: float = 60) -> NightShift:
    async def origin(path: str) -> Origin:
        return Origin(url=str(bench.repository))

    return NightShift(
        name=name,
        diary=bench.db.nights,
        findings=bench.db.nights,
        store=bench.db.store,
        sandbox=bench.sandbox,
        installer=None,
        vaults=bench.vaults.of,
        origin=origin,
        projects=lambda path: bench.project if bench.known else None,
        clock=bench.clock,
        tasks={Task.LINT: task},
        lease=timedelta(seconds=lease),
    )


async def the_entry(bench: Bench) -> Entry:
    [entry] = await bench.db.nights.entries(since=EARLIER)
    assert entry.report is not None
    return entry


async def test_what_a_night_changed_is_published_as_a_run_without_a_model(bench: Bench):
    await bench.db.nights.add(bench.project.path, Task.LINT)
    assert await shift(bench, turned).work()
    entry = await the_entry(bench)
    [group] = entry.report.groups if entry.report else ()
    assert group.run is not None
    run = await bench.db.store.run(group.run)
    assert (run.status, run.request.requester) == (RunStatus.PUBLISHING, NIGHT)
    assert group.branch == run.branch
    model = ScriptedModel(replies=[])
    await bench.worker(model).advance(run.id)
    assert [type(each) for each in await bench.wants(run)] == [Push, PublishMergeRequest]
    await bench.publish(run)
    await bench.worker(model).advance(run.id)
    state = await bench.state(run)
    assert state.status is RunStatus.SUCCEEDED, await bench.story(run)
    assert model.prompts == []
    [checkpoint] = await bench.facts(run, CheckpointTaken)
    assert [file.path for file in checkpoint.files] == ["calc.py"]
    assert state.tests_base is not None
    assert state.tests_change is not None
    assert git(bench.repository, "log", "-1", "--format=%s") == "Begin"


async def test_a_night_that_is_begun_again_makes_the_same_run(bench: Bench):
    await bench.db.nights.add(bench.project.path, Task.LINT)
    dead = shift(bench, turned, name="dead", lease=0)
    due = await bench.db.nights.claim("dead", timedelta(0))
    assert due is not None
    aside = Aside(store=bench.db.nights)
    first = await dead._done(due, aside)  # and dies before it could store the report
    assert await shift(bench, turned, name="alive").work()
    second = (await the_entry(bench)).report
    assert second is not None
    assert [group.run for group in second.groups] == [group.run for group in first.groups]
    assert len(await bench.db.store.runs()) == 1


async def test_the_same_change_is_not_published_again_the_next_night(bench: Bench):
    for _ in range(2):
        await bench.db.nights.add(bench.project.path, Task.LINT)
        assert await shift(bench, turned).work()
    first, second = (each.report for each in await bench.db.nights.entries(since=EARLIER))
    assert first is not None
    assert second is not None
    assert [group.run for group in second.groups] == [group.run for group in first.groups]
    [run] = await bench.db.store.runs()
    ended = Write(payloads=(RunEnded(status=RunStatus.FAILED, reason="GitLab was away."),))
    await bench.db.store.write(run.id, ended, actor="worker")
    await bench.db.nights.add(bench.project.path, Task.LINT)
    assert await shift(bench, turned).work()
    assert len(await bench.db.store.runs()) == 2


async def test_without_news_there_is_no_run(bench: Bench):
    await bench.db.nights.add(bench.project.path, Task.LINT)
    assert await shift(bench, quiet).work()
    assert not await shift(bench, quiet).work()
    assert await bench.db.store.runs() == []


async def test_what_goes_wrong_is_the_night_s_report(bench: Bench):
    await bench.db.nights.add(bench.project.path, Task.LINT)
    assert await shift(bench, broken).work()
    report = (await the_entry(bench)).report
    assert report is not None
    assert (report.status, report.problems) == ("failed", ("The sandbox is gone.",))


async def test_a_project_that_is_gone_from_the_settings_is_told(bench: Bench):
    await bench.db.nights.add(bench.project.path, Task.LINT)
    bench.known = False
    assert await shift(bench, turned).work()
    report = (await the_entry(bench)).report
    assert report is not None
    assert "no longer among the projects" in report.problems[0]


async def test_who_is_stopped_hands_the_night_back_and_it_counts_for_nothing(bench: Bench):
    """A night would be given up after three deployments, and each would hold it up for a minute."""
    await bench.db.nights.add(bench.project.path, Task.LINT)
    going = asyncio.Event()

    async def slow(night: Night) -> TaskReport:
        going.set()
        await asyncio.Event().wait()
        raise AssertionError

    for number in range(ATTEMPTS):
        going.clear()
        stopped = asyncio.create_task(shift(bench, slow, name=f"n{number}").work())
        async with asyncio.timeout(20):
            await going.wait()
        stopped.cancel()
        await asyncio.wait({stopped})
        assert stopped.cancelled()
    assert await shift(bench, quiet, name="last").work()
    report = (await the_entry(bench)).report
    assert report is not None
    assert report.status == "nothing"


async def test_a_night_that_cannot_be_taken_ends_neither_the_shift_nor_the_service(bench: Bench):
    done = asyncio.Event()

    async def seen(night: Night) -> TaskReport:
        done.set()
        return await quiet(night)

    class Diary(NightStore):
        broken = 1

        async def claim(self, owner: str, lease: timedelta) -> Due | None:
            self.broken -= 1
            if self.broken >= 0:
                raise ValueError("'paint' is not a valid Task")
            return await super().claim(owner, lease)

    await bench.db.nights.add(bench.project.path, Task.LINT)
    serving = shift(bench, seen)
    serving.diary = Diary(bench.db.pool)
    task = asyncio.create_task(serving.serve())
    waiting = asyncio.create_task(done.wait())
    async with asyncio.timeout(120):
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    assert not task.done()
    for each in (task, waiting):
        each.cancel()
    await asyncio.wait({task, waiting})


async def test_who_lost_the_lease_stores_nothing(bench: Bench):
    await bench.db.nights.add(bench.project.path, Task.LINT)
    going = asyncio.Event()

    async def slow(night: Night) -> TaskReport:
        going.set()
        await asyncio.Event().wait()
        raise AssertionError

    asleep = asyncio.create_task(shift(bench, slow, name="asleep", lease=0).work())
    await going.wait()
    assert await shift(bench, quiet, name="awake").work()
    async with asyncio.timeout(60):
        assert await asleep
    report = (await the_entry(bench)).report
    assert report is not None
    assert report.status == "nothing"
