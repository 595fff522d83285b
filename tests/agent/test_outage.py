"""GitLab is dark when a run needs its code: the run waits as long as it takes, within an hour."""

from __future__ import annotations

import pytest
from engine_bench import FINISH, GOOD, MIA, PLAN, Bench
from test_resume import Crash, DyingStore

from agent import outage
from agent.adapters.git_vault import GitVaults
from agent.events import StatusChanged
from agent.ports import Write
from agent.run import Run, RunStatus
from agent.testing import ScriptedModel
from bot.views.run import card
from bot.views.words import Links

TURN = len(outage.PAUSES) + 1  #: how often a worker asks before it puts the run off


async def put_off(bench: Bench, run: Run) -> list[str]:
    changes = await bench.facts(run, StatusChanged)
    return [change.reason for change in changes if change.put_off]


async def test_a_dark_gitlab_puts_the_run_off_and_says_so(bench: Bench):
    run = await bench.ask()
    bench.dark = 3 * TURN
    for number in (1, 2, 3):
        model = await bench.go(run, [])
        assert model.prompts == []
        state = await bench.state(run)
        assert state.status is RunStatus.QUEUED, await bench.story(run)
        told = f"GitLab is not answering, trying again in 2 min, {number} of 30; nothing is lost."
        assert state.reason == told
        assert told in str(card(state, Links(public_url="")).blocks)
    await bench.go(run, [PLAN, GOOD, FINISH])
    assert (await bench.state(run)).status is RunStatus.PUBLISHING
    assert len(await put_off(bench, run)) == 3


async def test_a_gitlab_that_stays_dark_ends_the_run_in_a_sentence(bench: Bench):
    run = await bench.ask()
    bench.dark = (outage.TRIES + 1) * TURN
    for _ in range(outage.TRIES + 1):
        await bench.go(run, [])
    state = await bench.state(run)
    assert state.status is RunStatus.FAILED
    assert state.reason == "GitLab does not answer. Nothing was changed."
    assert "30 of 30" in (await put_off(bench, run))[-1]


async def test_a_retry_has_all_its_tries_again(bench: Bench):
    run = await bench.ask()
    bench.dark = (outage.TRIES + 2) * TURN
    for _ in range(outage.TRIES + 1):
        await bench.go(run, [])
    await bench.service().retry(run.id, MIA, message="2")
    await bench.go(run, [])
    assert "1 of 30" in (await bench.state(run)).reason


async def test_an_older_worker_that_passes_the_run_by_leaves_the_count_alone(bench: Bench):
    run = await bench.ask()
    bench.dark = 2 * TURN
    await bench.go(run, [])
    told = StatusChanged(status=RunStatus.QUEUED, reason="It waits for a newer worker.")
    await bench.db.store.write(run.id, Write(payloads=(told,)), actor="service")
    await bench.go(run, [])
    assert "2 of 30" in (await bench.state(run)).reason


async def test_a_run_that_was_put_off_is_stopped_at_once(bench: Bench):
    run = await bench.ask()
    bench.dark = TURN
    await bench.go(run, [])
    await bench.service().stop(run.id, MIA, how="mention")
    assert (await bench.state(run)).status is RunStatus.CANCELLED


async def test_a_run_that_was_testing_tests_when_gitlab_is_back(bench: Bench):
    """Taken over by a host that has no code yet."""
    run = await bench.ask()
    died = DyingStore(bench.db.store, lambda write: moved_to(write, RunStatus.TESTING))
    worker = bench.worker(ScriptedModel(replies=[PLAN, GOOD, FINISH]), store=died)
    with pytest.raises(Crash):
        await worker.advance(run.id)
    assert (await bench.state(run)).status is RunStatus.TESTING
    bench.vaults = GitVaults(bench.folder / "other")
    bench.dark = TURN
    await bench.go(run, [])
    assert (await bench.state(run)).status is RunStatus.QUEUED
    await bench.go(run, [])  # the model is asked nothing
    assert (await bench.state(run)).status is RunStatus.PUBLISHING, await bench.story(run)


def moved_to(write: Write, status: RunStatus) -> str:
    return "after" if write.status is status else ""
