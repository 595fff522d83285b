"""Stop means now."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from engine_bench import GOOD, MIA, PLAN, Bench

from agent.events import ToolReturned
from agent.intents import Push
from agent.ports import Answer
from agent.run import Run, RunStatus
from agent.testing import Reply, ScriptedModel, call, say

#: Of a machine that is busy with other tests; on a quiet one it is 0.2 s.
PATIENCE = 1.0


class Speaker(ScriptedModel):
    """Says when it gives the reply number `last`; with no replies it never answers."""

    def __init__(self, replies: list[Reply], last: int = 0, by_prompt: bool = False) -> None:
        super().__init__(replies=replies, by_prompt=by_prompt)
        self.spoken = asyncio.Event()
        self._last = last or len(replies)

    async def complete(self, *args: Any, **more: Any) -> Answer:
        if not self.replies:
            self.spoken.set()
            await asyncio.sleep(3600)
        answer = await super().complete(*args, **more)
        if self.given == self._last:
            self.spoken.set()
        return answer


async def stopped_after(bench: Bench, run: Run, model: Speaker, seconds: float) -> float:
    """Lets the run begin, stops it, gives how long the stop took."""
    work = asyncio.create_task(bench.worker(model).advance(run.id))
    await model.spoken.wait()
    await asyncio.sleep(seconds)
    began = time.monotonic()
    await bench.service().stop(run.id, MIA, how="mention")
    await work
    return time.monotonic() - began


@pytest.mark.alone
async def test_stop_ends_a_running_command_within_a_second_and_keeps_the_branch(bench: Bench):
    run = await bench.ask()
    slow = say(call("run", command="sleep 60 & sleep 60", timeout=100))
    model = Speaker([PLAN, GOOD, slow])
    assert await stopped_after(bench, run, model, 0.3) < PATIENCE
    state = await bench.state(run)
    assert state.status is RunStatus.CANCELLED
    assert state.reason == f"Stopped by @mia at step 3. Branch {run.branch} is kept with 1 commit."
    assert await bench.wants(run) == [Push(commit=state.commits[-1].commit)]


@pytest.mark.alone
async def test_stop_ends_a_model_call_within_a_second(bench: Bench):
    run = await bench.ask()
    model = Speaker([])
    assert await stopped_after(bench, run, model, 0.2) < PATIENCE
    state = await bench.state(run)
    assert state.status is RunStatus.CANCELLED
    assert state.reason == "Stopped by @mia at step 0. Nothing was changed."


async def test_a_stopped_command_is_not_started_again_by_a_retry(bench: Bench):
    run = await bench.ask()
    slow = say(call("run", command="sleep 60", timeout=100))
    await stopped_after(bench, run, Speaker([PLAN, slow]), 0.2)
    await bench.service().instruct(run.id, "without sleeping", MIA, message="2")
    replies: list[Reply] = [GOOD, say(call("finish", summary="Done"))]
    model = await bench.go(run, replies)
    assert b"Not carried out: the run had ended. Stopped by @mia" in model.prompts[0]
    assert b"without sleeping" in model.prompts[0]
    assert (await bench.state(run)).status is RunStatus.PUBLISHING
    returned = await bench.facts(run, ToolReturned)
    assert [r.summary for r in returned if r.tool == "run"] == ["not carried out"]


async def test_a_worker_that_is_shut_down_leaves_the_run_for_another(bench: Bench):
    run = await bench.ask()
    slow = say(call("run", command="sleep 1"))
    replies: list[Reply] = [PLAN, slow, GOOD, say(call("finish", summary="Done"))]
    model = Speaker(replies, last=2, by_prompt=True)
    work = asyncio.create_task(bench.worker(model).advance(run.id))
    await model.spoken.wait()
    await asyncio.sleep(0.2)
    work.cancel()
    await asyncio.wait({work})
    assert work.cancelled()
    assert (await bench.state(run)).status is RunStatus.WORKING
    await bench.worker(model, name="w2").advance(run.id)
    assert (await bench.state(run)).status is RunStatus.PUBLISHING
