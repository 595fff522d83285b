"""A freeze interrupts at once, changes nothing outside, and loses nothing."""

from __future__ import annotations

import asyncio
import time

import pytest
from engine_bench import FINISH, GOOD, MIA, PLAN, Bench, edit, git
from pipeline_bench import job, pipeline, scene
from test_stop import PATIENCE, Speaker

from agent.errors import Unavailable
from agent.events import (
    CheckpointTaken,
    FixStarted,
    ModelAnswered,
    RunFrozen,
    RunThawed,
    StopAsked,
    TestsRan,
    ToolReturned,
)
from agent.freeze import EVERYWHERE
from agent.run import Person, Run, RunStatus
from agent.testing import Reply, call, say

LEE = Person(id="U3", name="lee", gitlab_id=9)
SLOW = say(call("run", command="echo begun >> log; sleep 2; echo done >> log", timeout=100))


async def frozen_after(bench: Bench, run: Run, model: Speaker, seconds: float = 0.3) -> float:
    """Lets the run begin, freezes its project, gives how long it took until it let go."""
    work = asyncio.create_task(bench.worker(model).advance(run.id))
    await model.spoken.wait()
    await asyncio.sleep(seconds)
    began = time.monotonic()
    await bench.db.store.freeze(run.request.project, LEE, "we deploy by hand")
    await work
    return time.monotonic() - began


@pytest.mark.alone
@pytest.mark.parametrize("scope", ["its project", "everywhere"])
async def test_a_running_command_is_ended_and_begun_again_afterwards(bench: Bench, scope: str):
    run = await bench.ask()
    replies: list[Reply] = [PLAN, GOOD, SLOW, FINISH]
    assert await frozen_after(bench, run, Speaker(replies, last=3, by_prompt=True)) < PATIENCE
    state = await bench.state(run)
    assert state.status is RunStatus.QUEUED
    assert state.reason == "Frozen by @lee: we deploy by hand"
    assert state.checkpoint is not None
    if scope == "everywhere":
        await bench.db.store.freeze(EVERYWHERE, LEE, "")
        await bench.db.store.unfreeze(run.request.project, LEE, "")
    worker = bench.worker(Speaker(replies, by_prompt=True), name="w2")
    with pytest.raises(Unavailable, match="Frozen by @lee"):
        await worker.advance(run.id)
    assert state.seq == (await bench.state(run)).seq

    await bench.db.store.unfreeze(
        EVERYWHERE if scope == "everywhere" else run.request.project, LEE, ""
    )
    await worker.advance(run.id)
    state = await bench.state(run)
    assert state.status is RunStatus.PUBLISHING, await bench.story(run)
    assert len(await bench.facts(run, ModelAnswered)) == 4  # nothing was asked twice
    assert [f.status for f in await bench.facts(run, RunFrozen)] == [RunStatus.WORKING]
    assert len(await bench.facts(run, RunThawed)) == 1
    made = state.commits[-1].commit
    log = await bench.vaults.of(bench.project.path).read(made, "log")
    assert log == b"begun\ndone\n"  # in a tree as it was before the command
    assert len(await bench.facts(run, CheckpointTaken)) == 2


@pytest.mark.alone
async def test_a_model_call_is_ended_and_made_again(bench: Bench):
    run = await bench.ask()
    assert await frozen_after(bench, run, Speaker([])) < PATIENCE
    assert (await bench.state(run)).interrupted is RunStatus.PLANNING
    await bench.db.store.unfreeze(run.request.project, LEE, "")
    await bench.go(run, [PLAN, GOOD, FINISH])
    assert (await bench.state(run)).status is RunStatus.PUBLISHING


@pytest.mark.alone
async def test_tests_are_run_again_without_asking_the_model(bench: Bench):
    (bench.repository / "check.sh").write_text("sleep 1\ntrue\n")
    git(bench.repository, "commit", "-qam", "Slow")
    run = await bench.ask()
    replies: list[Reply] = [PLAN, GOOD, FINISH]
    assert await frozen_after(bench, run, Speaker(replies, by_prompt=True), 0.4) < PATIENCE
    assert (await bench.state(run)).interrupted is RunStatus.TESTING, await bench.story(run)
    await bench.db.store.unfreeze(run.request.project, LEE, "")
    await bench.worker(Speaker(replies, by_prompt=True)).advance(run.id)
    assert (await bench.state(run)).status is RunStatus.PUBLISHING
    assert len(await bench.facts(run, ModelAnswered)) == 3
    assert [t.where for t in await bench.facts(run, TestsRan)].count("change") == 1


async def test_a_frozen_run_is_stopped_for_good(bench: Bench):
    run = await bench.ask()
    slow = say(call("run", command="sleep 60", timeout=100))
    await frozen_after(bench, run, Speaker([PLAN, slow]))
    await bench.db.store.ask_stop(run.id, StopAsked(by=LEE, how="stop all"), actor=LEE.id)
    assert (await bench.state(run)).status is RunStatus.CANCELLED
    await bench.db.store.unfreeze(run.request.project, LEE, "")
    await bench.service().retry(run.id, MIA)
    await bench.go(run, [GOOD, FINISH])
    assert (await bench.state(run)).status is RunStatus.PUBLISHING
    returned = await bench.facts(run, ToolReturned)
    assert "not carried out" in [each.summary for each in returned]


async def test_a_fix_of_the_pipeline_goes_on_where_it_was(bench: Bench):
    """And does not look at the red pipeline once more, which would count as another attempt."""
    here = scene(bench)
    run = await here.published()
    await here.says(run, "canceled", job("lint", "canceled"))
    assert await here.status(run) is RunStatus.ESCALATED
    await bench.service().retry(run.id, MIA)
    here.forge.logs[71] = b"calc.py:2:12: E225 missing whitespace\nERROR: Job failed\n"
    red = job("lint", "failed", id=71, failure_reason="script_failure")
    here.forge.lines = [pipeline(here.head, "failed", red, id=9)]
    bench.clock.advance(30)
    await bench.worker(Speaker([])).advance(run.id)
    assert await here.status(run) is RunStatus.WORKING, await bench.story(run)
    await frozen_after(bench, run, Speaker([]))
    await bench.db.store.unfreeze(run.request.project, LEE, "")
    mend = say(edit("return b + a", "return (b + a)"))
    await bench.worker(Speaker([mend, FINISH])).advance(run.id)
    assert await here.status(run) is RunStatus.PUBLISHING, await bench.story(run)
    assert [fix.attempt for fix in await bench.facts(run, FixStarted)] == [1]
