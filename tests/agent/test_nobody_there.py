"""What needs a person, in a run that has none: each ends with its reason, and nothing waits."""

from __future__ import annotations

from dataclasses import replace

from engine_bench import FINISH, GOOD, MIA, PLAN, Bench, edit
from pipeline_bench import job, pipeline, scene

from agent.events import (
    ErrandGiven,
    FixStarted,
    InstructionGiven,
    Payload,
    PushHeld,
    QuestionAsked,
)
from agent.intents import PublishMergeRequest, Push
from agent.maintenance.handing import NIGHT
from agent.maintenance.night import Errand
from agent.policy import Policy
from agent.ports import Write
from agent.run import Request, Run, RunStatus, Thread
from agent.testing import say
from agent.work import Case

LOG = b"$ make lint\n/builds/team/calc/calc.py:2:12: E225 missing whitespace\nERROR: exit code 1\n"
OF_A_NIGHT = {"thread": Thread(team="", channel="", ts="night:1"), "requester": NIGHT}


async def test_a_change_that_somebody_would_have_to_accept_is_not_held_for_ever(bench: Bench):
    bench.project = replace(bench.project, policy=Policy(deny_paths=("calc.py",)))
    run = await bench.ask(**OF_A_NIGHT)
    await bench.go(run, [PLAN, GOOD, FINISH])
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED, await bench.story(run)
    assert "a person has to accept it first (path)" in state.reason
    assert "nobody is asked for what a night did" in state.reason
    assert await bench.facts(run, PushHeld) == []
    assert await bench.wants(run) == []


async def test_a_red_pipeline_of_the_tools_own_change_asks_no_model(bench: Bench):
    here = scene(bench)
    run = await here.published(**OF_A_NIGHT)
    here.forge.logs[71] = LOG
    here.forge.lines = [pipeline(here.head, "failed", job("lint", "failed", id=71))]
    model = await here.look(run)
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED, await bench.story(run)
    assert "A night's own tools cannot mend that." in state.reason
    assert (model.prompts, await bench.facts(run, FixStarted)) == ([], [])


async def test_an_errand_mends_its_own_red_pipeline(bench: Bench):
    async def accepts(case: Case) -> tuple[str, ...]:
        return ()

    here, bench.acceptance = scene(bench), accepts
    run = await given(bench)
    await here.work(run, PLAN, GOOD, FINISH)
    await here.effects(run)
    await here.look(run)
    here.forge.logs[71] = LOG
    here.forge.lines = [pipeline(here.head, "failed", job("lint", "failed", id=71))]
    await here.look(run, say(edit("return b + a", "return (b + a)")), FINISH)
    assert len(await bench.facts(run, FixStarted)) == 1
    assert (await bench.state(run)).status is RunStatus.PUBLISHING, await bench.story(run)


async def test_what_people_want_of_the_merge_request_is_not_held_to_the_errand_s_terms(
    bench: Bench,
):
    async def refuses(case: Case) -> tuple[str, ...]:
        return ("It made a file.",)

    bench.acceptance = refuses
    run = await given(bench, InstructionGiven(text="Add a file for it.", by=MIA))
    await bench.go(run, [PLAN, GOOD, FINISH])
    assert [type(each) for each in await bench.wants(run)] == [Push, PublishMergeRequest]


async def given(bench: Bench, *more: Payload) -> Run:
    request = Request(
        text="Mend it.", project=bench.project.path, base_branch=None, message="n", **OF_A_NIGHT
    )
    errand = Errand(kind="findings", title="Mend it", text="Mend it.")
    born = Write(payloads=(ErrandGiven(errand=errand), *more))
    run, _ = await bench.db.store.create("n", request, bench.project.limits, born=born)
    return run


async def test_a_log_that_nobody_can_read_is_asked_of_nobody(bench: Bench):
    here = scene(bench)
    run = await here.published(**OF_A_NIGHT)
    here.forge.lines = [pipeline(here.head, "failed", job("away", "failed", external=True))]
    await here.look(run)
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED, await bench.story(run)
    assert await bench.facts(run, QuestionAsked) == []
    assert "away" in state.reason


async def test_where_nothing_can_accept_an_errand_it_is_not_published(bench: Bench):
    run = await given(bench)
    await bench.go(run, [PLAN, GOOD, FINISH])
    state = await bench.state(run)
    assert (state.status, state.merge_request) == (RunStatus.FAILED, None)
    assert "Nothing here can tell whether an errand of the night was done." in state.reason
