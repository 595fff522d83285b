"""The pipeline of the pushed commit: what it is taken for, and when the run lets go of it."""

from __future__ import annotations

from engine_bench import Bench
from pipeline_bench import job, scene

from agent.run import RunStatus


async def test_a_green_pipeline_ends_the_run_with_what_the_model_said(bench: Bench):
    here = scene(bench)
    run = await here.published()
    await here.look(run)
    await here.says(run, "running", job(status="running"))
    assert await here.status(run) is RunStatus.WATCHING
    await here.says(run, "success", job())
    state = await bench.state(run)
    assert state.status is RunStatus.SUCCEEDED, await bench.story(run)
    assert state.end is not None
    assert state.end.summary == "Turn the sum around"
    assert await here.seen(run) == ["awaited", "running", "green"]
