"""Who may do what with a run, and that saying it twice does it once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import pytest
from engine_bench import FINISH, GOOD, MIA, PLAN, Bench, Members

from agent.errors import Refused
from agent.events import (
    InstructionGiven,
    QuestionAnswered,
    RunAccepted,
    RunClaimed,
    RunEnded,
    RunEvent,
)
from agent.ports import MergeRequest, Write
from agent.run import Linked, Person, Request, Run, RunId, RunStatus, Thread
from agent.service import RunService
from agent.testing import call, say

SAM = Person(id="U2", name="sam", gitlab_id=8)
REQUEST = Request(
    text="add it",
    project="team/calc",
    base_branch=None,
    requester=replace(MIA, access=0),
    thread=Thread(team="T", channel="C", ts="1"),
    message="1",
)


async def test_a_developer_starts_a_run_once(bench: Bench):
    service = bench.service()
    run = await service.start(REQUEST)
    assert run.status is RunStatus.QUEUED
    assert run.request.requester.access == 30
    assert (await service.start(REQUEST)).id == run.id


async def test_a_run_that_has_to_wait_says_for_which(bench: Bench):
    service = bench.service()
    first = await service.start(REQUEST)
    await bench.db.store.claim(first.id, "worker")
    working = Write(payloads=(), status=RunStatus.PLANNING)
    await bench.db.store.write(first.id, working, actor="worker")
    second = await service.start(replace(REQUEST, message="2", requester=SAM))
    assert second.status is RunStatus.QUEUED
    state = await bench.state(second)
    assert state.reason == (
        "Run 1 (mia) is working on `team/calc`. This one begins when it is done."
    )


async def test_a_run_that_finds_no_place_over_all_projects_says_so(bench: Bench):
    bench.project = replace(bench.project, max_runs=5)
    service = bench.service()
    await bench.db.pool.execute("UPDATE fleet SET max_runs = 2")
    first = await service.start(REQUEST)
    await bench.db.store.claim(first.id, "worker")
    working = Write(payloads=(), status=RunStatus.PLANNING)
    await bench.db.store.write(first.id, working, actor="worker")
    second = await service.start(replace(REQUEST, message="2", requester=SAM))
    assert (await bench.state(second)).reason == ""
    await bench.db.store.claim(second.id, "worker")
    third = await service.start(replace(REQUEST, message="3"))
    assert (await bench.state(third)).reason == (
        "As many runs are at work as may be at once, over all projects. This one begins when it "
        "is its turn."
    )


@pytest.mark.parametrize("counted", [False, True])
async def test_a_run_that_is_claimed_while_its_place_is_looked_for_stays_with_its_worker(
    bench: Bench, counted: bool, monkeypatch: pytest.MonkeyPatch
):
    """`counted`: somebody else had the last place when the places were counted."""
    store = bench.db.store
    await bench.db.pool.execute("UPDATE fleet SET max_runs = 1")
    free_places = store.free_places

    async def claims(**besides: RunId) -> int | None:
        await store.claim(RunId(1), "worker")
        return 0 if counted else await free_places(**besides)

    monkeypatch.setattr(store, "free_places", claims)
    run = await bench.service().start(REQUEST)
    kinds = [type(event.payload) for event in await bench.log(run)]
    assert kinds == [RunAccepted, RunClaimed]
    assert await free_places() == 0


async def test_a_guest_is_refused_with_the_rule(bench: Bench):
    with pytest.raises(Refused) as refused:
        await bench.service(access=10).start(REQUEST)
    assert str(refused.value) == (
        "You can't start runs on `team/calc`: GitLab says you are a Guest there, "
        "Developer is needed. Ask a maintainer of the project."
    )


async def test_somebody_without_a_gitlab_account_is_told_how_to_get_in(bench: Bench):
    with pytest.raises(Refused, match="Link it with `@agent settings`"):
        await bench.service().start(replace(REQUEST, requester=Person(id="U1", name="mia")))


async def test_a_project_that_nobody_allowed_is_refused(bench: Bench):
    service = RunService(store=bench.db.store, forge=Members(50), projects=lambda path: None)
    with pytest.raises(Refused, match="`team/calc` is not among the projects"):
        await service.start(REQUEST)


async def test_links_to_issues_of_the_project_are_read_and_others_left_alone(bench: Bench):
    issue = Linked(kind="issue", iid=4, url="u", title="Sum", text="wrong")
    service = RunService(
        store=bench.db.store, forge=Members(30, {4: issue}), projects=lambda path: bench.project
    )
    here = "https://gitlab.example.com/team/calc/-/issues/"
    other = "https://gitlab.example.com/secret/x/-/issues/4"
    run = await service.start(replace(REQUEST, text=f"fix {here}4 {here}4 {here}5 {other}"))
    assert run.request.linked == (issue,)


async def test_an_instruction_said_twice_is_given_once(bench: Bench):
    run = await bench.ask()
    for _ in range(2):
        await bench.service().instruct(run.id, "more", SAM, message="5")
    given = await bench.facts(run, InstructionGiven)
    assert [g.text for g in given] == ["more"]


async def test_what_a_run_was_begun_with_is_not_said_to_it_again(bench: Bench):
    service = bench.service()
    run = await service.start(replace(REQUEST, message="5"))
    await service.instruct(run.id, REQUEST.text, MIA, message="5")
    assert await bench.facts(run, InstructionGiven) == []
    failed = Write(payloads=(RunEnded(status=RunStatus.FAILED),))
    await bench.db.store.write(run.id, failed, actor="worker")
    await service.instruct(run.id, REQUEST.text, MIA, message="5")
    assert (await bench.state(run)).status is RunStatus.FAILED


async def test_the_requester_s_mention_answers_an_open_question_another_s_waits(bench: Bench):
    run = await asked(bench)
    await bench.service().instruct(run.id, "hurry", SAM, message="3")
    assert (await bench.state(run)).status is RunStatus.WAITING_FOR_ANSWER
    await bench.service().instruct(run.id, "words", MIA, message="4")
    assert (await bench.state(run)).status is RunStatus.QUEUED
    model = await bench.go(run, [PLAN, GOOD, FINISH])
    assert b"answers: words" in model.prompts[0]
    assert b"sam (U2) adds:\\nhurry" in model.prompts[0]


async def test_an_answer_that_comes_too_late_is_refused(bench: Bench):
    run = await asked(bench)
    await bench.service().answer(run.id, "a", MIA, message="2")
    await bench.service().answer(run.id, "a", MIA, message="2")  # the same delivery once more
    with pytest.raises(Refused, match="no longer open"):
        await bench.service().answer(run.id, "b", SAM, message="3")


async def test_an_answer_to_one_question_is_none_to_the_next(bench: Bench):
    run = await asked(bench)
    first = (await bench.state(run)).question_seq
    await bench.service().answer(run.id, "words", MIA, message="2", question=first)
    await bench.go(run, [say(call("ask", question="And then?", choices=["speed", "words"]))])
    with pytest.raises(Refused, match="no longer open"):
        await bench.service().answer(run.id, "speed", MIA, message="3", question=first)
    assert (await bench.state(run)).question_seq > first
    assert [a.text for a in await bench.facts(run, QuestionAnswered)] == ["words"]


async def test_twins_that_have_both_read_before_either_writes_say_it_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    run, both = await bench.ask(), asyncio.Barrier(2)
    read, looks = bench.db.store.events, count()

    async def events(of: RunId) -> Sequence[RunEvent]:
        found = await read(of)
        if next(looks) < both.parties:
            await both.wait()
        return found

    monkeypatch.setattr(bench.db.store, "events", events)
    service = bench.service()
    await asyncio.gather(*(service.instruct(run.id, "more", SAM, message="5") for _ in range(2)))
    assert [given.text for given in await bench.facts(run, InstructionGiven)] == ["more"]


async def test_a_run_that_waits_is_stopped_at_once_and_can_be_retried(bench: Bench):
    run = await asked(bench)
    await bench.service().stop(run.id, MIA, how="mention")
    assert (await bench.state(run)).status is RunStatus.CANCELLED
    await bench.service().retry(run.id, MIA)
    model = await bench.go(run, [PLAN, GOOD, FINISH])
    assert b"Not carried out: the run had ended" in model.prompts[0]
    assert (await bench.state(run)).status is RunStatus.PUBLISHING


@pytest.mark.parametrize("status", [RunStatus.QUEUED, RunStatus.ESCALATED])
async def test_a_run_that_was_set_going_again_is_not_stopped_by_the_same_word(
    bench: Bench, status: RunStatus
):
    run, service = await asked(bench), bench.service()
    await service.stop(run.id, MIA, how="mention", message="1700000000.000001")
    await service.retry(run.id, MIA)
    if status is RunStatus.ESCALATED:
        needs = Write(payloads=(RunEnded(status=RunStatus.ESCALATED),))
        await bench.db.store.write(run.id, needs, actor="worker")

    await service.stop(run.id, MIA, how="mention", message="1700000000.000001")
    state = await bench.state(run)
    assert (state.status, state.stop) == (status, None)
    await service.stop(run.id, MIA, how="mention", message="1700000000.000002")
    assert (await bench.state(run)).stop is not None


async def test_a_stranger_may_not_stop_the_run_of_another(bench: Bench):
    run = await bench.ask()
    with pytest.raises(Refused, match="stop runs on"):
        await bench.service(access=0).stop(run.id, SAM, how="mention")


async def test_only_what_ended_badly_is_retried(bench: Bench):
    run = await bench.ask()
    with pytest.raises(Refused, match="This run is queued"):
        await bench.service().retry(run.id, MIA)
    await bench.go(run, [say(call("finish", summary="s", answer="a"))])
    with pytest.raises(Refused, match="This run is done"):
        await bench.service().retry(run.id, MIA)


async def test_after_the_merge_a_mention_begins_a_run_of_its_own(bench: Bench):
    run = await bench.ask()
    await bench.go(run, [say(call("finish", summary="s", answer="a"))])
    forge = Members(30)
    service = RunService(store=bench.db.store, forge=forge, projects=lambda path: bench.project)
    merged = MergeRequest(
        project="team/calc",
        iid=1,
        url="u",
        title="t",
        description="",
        state="merged",
        draft=False,
        source_branch=run.branch,
        target_branch="main",
        sha=None,
        author_id=None,
    )
    forge.made = [merged]
    other = await service.instruct(run.id, "and more", MIA, message="9")
    assert other.id != run.id
    assert other.request.text == "and more"
    assert other.request.thread == run.request.thread
    forge.made = [replace(merged, state="opened")]
    assert (await service.instruct(run.id, "and more", MIA, message="10")).id == run.id


async def test_what_two_people_ask_at_once_after_the_merge_becomes_one_run(bench: Bench):
    run = await bench.ask()
    await bench.go(run, [say(call("finish", summary="s", answer="a"))])
    service = merged(bench, run)
    for _ in range(2):  # each delivery comes twice
        first, second = await asyncio.gather(
            service.instruct(run.id, "by mia", MIA, message="8"),
            service.instruct(run.id, "by sam", SAM, message="9"),
        )
        assert first.id == second.id != run.id
    (other, _) = await bench.db.store.runs()
    (given,) = await bench.facts(other, InstructionGiven)
    assert {other.request.text, given.text} == {"by mia", "by sam"}


async def test_what_is_asked_while_a_merged_run_delivers_becomes_a_run_of_its_own(bench: Bench):
    run = await bench.ask()
    other = await bench.ask("and this", thread=run.request.thread)
    service = merged(bench, run)
    for each in (run, other):
        delivers = Write(payloads=(), status=RunStatus.DELIVERING)
        await bench.db.store.write(each.id, delivers, actor="worker")
    made = await service.instruct(run.id, "and more", MIA, message="9")
    assert made.id == other.id + 1
    assert (await service.instruct(other.id, "once more", SAM, message="10")).id == made.id


def merged(bench: Bench, run: Run) -> RunService:
    """With a GitLab where everything is merged."""
    forge = Members(30)
    forge.made = [
        MergeRequest(
            project="team/calc",
            iid=1,
            url="u",
            title="t",
            description="",
            state="merged",
            draft=False,
            source_branch=run.branch,
            target_branch="main",
            sha=None,
            author_id=None,
        )
    ]
    return RunService(store=bench.db.store, forge=forge, projects=lambda path: bench.project)


async def test_the_same_word_after_the_merge_begins_no_second_run(bench: Bench):
    """It was given to the run before that ended."""
    run = await bench.ask()
    await bench.service().instruct(run.id, "and this", MIA, message="form 1")
    await bench.go(run, [say(call("finish", summary="s", answer="a"))])
    service = merged(bench, run)
    assert (await service.instruct(run.id, "and this", MIA, message="form 1")).id == run.id
    other = await service.instruct(run.id, "and more", MIA, message="form 2")
    await bench.go(other, [say(call("finish", summary="s", answer="a"))])
    assert (await service.instruct(run.id, "and more", MIA, message="form 2")).id == other.id
    assert len(await bench.db.store.runs()) == 2


async def test_the_same_click_sets_a_run_going_once(bench: Bench):
    run = await bench.ask()
    for _ in range(2):
        await bench.db.store.write(
            run.id, Write(payloads=(RunEnded(status=RunStatus.ESCALATED),)), actor="worker"
        )
        for _ in range(2):
            await bench.service().retry(run.id, MIA, message="click 1")
    row = await bench.db.store.run(run.id)
    assert row.status is RunStatus.ESCALATED
    assert (await bench.service().retry(run.id, MIA, message="click 2")).status is RunStatus.QUEUED


async def test_a_plan_that_was_approved_stays_so_for_the_click_that_did_it(bench: Bench):
    run = await bench.ask(plan_only=True)
    await bench.go(run, [PLAN])
    for _ in range(2):
        await bench.service().approve_plan(run.id, SAM, message="click 1")
    [given] = await bench.facts(run, InstructionGiven)
    assert given.approves


async def asked(bench: Bench) -> Run:
    run = await bench.ask("vague")
    await bench.go(run, [say(call("ask", question="What?", choices=["speed", "words"]))])
    return run


async def test_a_plan_is_approved_once_however_many_press_the_button(bench: Bench):
    run = await bench.ask(plan_only=True)
    await bench.go(run, [PLAN])
    await bench.service().approve_plan(run.id, SAM)
    with pytest.raises(Refused, match="already being carried out"):
        await bench.service().approve_plan(run.id, MIA)
    model = await bench.go(run, [GOOD, FINISH])
    assert b"sam (U2) adds:\\nThe plan is approved. Carry it out." in model.prompts[0]
    state = await bench.state(run)
    assert state.status is RunStatus.PUBLISHING
    assert state.proposed is not None
    assert state.proposed.given.by == replace(SAM, access=30)
