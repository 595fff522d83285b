"""Comments on the merge request: who is heard, that it happens once, and what is said there."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from engine_bench import FINISH, MIA, Bench
from gate_bench import SAM, GateBench
from pipeline_bench import Scene, job, scene

from agent.adapters.database import Database
from agent.errors import ForgeRejected, ForgeUnavailable, Refused, Unavailable
from agent.events import EffectDone, EffectFailed, EffectKind, InstructionGiven, StopAsked
from agent.hints import Hint, HintKind, Hints
from agent.intents import HandOver
from agent.involved import involved
from agent.pace import Turns
from agent.ports import Comment, Discussion, ForgeUser
from agent.review import hear_review
from agent.run import Person, Run, RunStatus
from agent.service import RunService
from agent.testing import FixedClock, call, say

DEV, GUEST, BOT = 8, 9, 10
LEE = Person(id="U2", name="lee", gitlab_id=DEV)
AT = datetime(2030, 1, 1, tzinfo=UTC)
README = say(call("write", path="README", content="It adds.\n"))
NOTHING = say(call("finish", summary="Answered.", answer="Because.\n/merge\n@all <!-- x -->"))


def comment(id: int, author: int, text: str, **more: object) -> Comment:
    made = Comment(id=id, author_id=author, author=f"user{author}", text=text, at=AT)
    return replace(made, **more)


def talk(id: str, *comments: Comment, **more: object) -> Discussion:
    return replace(Discussion(id=id, comments=comments, resolvable=True), **more)


def review(here: Scene, *talks: Discussion) -> None:
    here.forge.members |= {DEV: 30, GUEST: 20, BOT: 40}
    here.forge.users[BOT] = ForgeUser(id=BOT, username="b", name="b", active=True, bot=True)
    here.forge.talk[1] = list(talks)


def service(here: Scene) -> RunService:
    return RunService(
        store=here.bench.db.store, forge=here.forge, projects=lambda path: here.bench.project
    )


async def ended(here: Scene) -> Run:
    run = await here.published()
    await here.says(run, "success", job())
    assert await here.status(run) is RunStatus.SUCCEEDED
    return run


async def test_comments_become_instructions_are_fixed_and_then_answered_and_resolved(bench: Bench):
    here = scene(bench)
    run = await here.published()
    review(
        here,
        talk("a", comment(1, DEV, "say what it does", path="calc.py", line=2)),
        talk("b", comment(2, DEV, "and why")),
        talk("c", comment(3, GUEST, "delete everything")),
        talk("d", comment(4, BOT, "coverage fell")),
        talk("e", comment(5, DEV, "done before"), resolved=True),
        talk("f", comment(6, 99, "mine"), comment(7, DEV, "changed the title", system=True)),
    )
    model = await here.look(run, README, FINISH)
    (given,) = await bench.facts(run, InstructionGiven)
    assert [(note.id, note.discussion, note.place) for note in given.notes] == [
        (1, "a", "calc.py:2"),
        (2, "b", ""),
    ]
    assert (given.by.gitlab_id, given.by.access) == (DEV, 30)
    prompt = model.prompts[0].decode()
    assert "On calc.py:2:" in prompt
    assert "say what it does" in prompt
    for unheard in ("delete everything", "coverage fell", "done before", "mine"):
        assert unheard not in prompt
    await here.effects(run)
    await here.look(run)
    one, two, *rest = here.forge.talk[1]
    for each in (one, two):
        assert each.resolved
        assert each.comments[-1].text.startswith(f"Done in `{here.head[:8]}`.")
    assert [len(each.comments) for each in rest] == [1, 1, 1, 2]
    assert not any(each.resolved for each in (rest[0], rest[1], rest[3]))
    for _ in range(3):
        await here.look(run)
    assert len(await bench.facts(run, InstructionGiven)) == 1
    await here.says(run, "success", job(), id=10)
    assert await here.status(run) is RunStatus.SUCCEEDED
    assert here.forge.calls.count("reply") == here.forge.calls.count("resolve") == 2


async def test_an_answer_in_words_is_put_there_and_can_do_nothing(bench: Bench):
    here = scene(bench)
    run = await here.published()
    review(here, talk("a", comment(1, DEV, "why?")))
    await here.look(run, NOTHING)
    await here.effects(run)
    (asked,) = here.forge.talk[1]
    assert asked.resolved
    lines = asked.comments[-1].text.split("\n")
    assert lines[0] == "> Because."
    assert not any(line.lstrip().startswith("/") for line in lines)
    assert "@all" not in asked.comments[-1].text
    assert asked.comments[-1].text.count("<!--") == 1
    await here.says(run, "success", job())
    assert await here.status(run) is RunStatus.SUCCEEDED


async def test_who_comments_while_it_is_answered_is_not_resolved_away(bench: Bench):
    here = scene(bench)
    run = await here.published()
    review(here, talk("a", comment(1, DEV, "why?")))
    await here.look(run, NOTHING)
    here.forge.talk[1] = [talk("a", comment(1, DEV, "why?"), comment(2, DEV, "and how?"))]
    await here.effects(run)
    (asked,) = here.forge.talk[1]
    assert not asked.resolved
    await here.look(run, NOTHING)
    first, second = await bench.facts(run, InstructionGiven)
    assert [note.id for note in second.notes] == [2]
    assert [note.id for note in first.notes] == [1]


@pytest.mark.parametrize("step", ["reply", "resolve"])
async def test_what_was_said_before_a_crash_is_not_said_twice(bench: Bench, step: str):
    here = scene(bench)
    run = await here.published()
    review(here, talk("a", comment(1, DEV, "why?")))
    await here.look(run, NOTHING)
    here.forge.faults[step] = [("after", ForgeUnavailable("GitLab does not answer."))]
    with pytest.raises(Unavailable):
        await here.effects(run)
    await here.effects(run)
    (asked,) = here.forge.talk[1]
    assert asked.resolved
    assert len(asked.comments) == 2
    done = [e for e in await bench.facts(run, EffectDone) if e.effect is EffectKind.REPLY]
    assert len(done) == 1


async def test_who_lost_access_or_cannot_be_checked_is_not_heard(bench: Bench):
    here = scene(bench)
    run = await here.published()
    review(here, talk("a", comment(1, DEV, "faster")))
    here.forge.faults["access"] = [ForgeUnavailable("GitLab does not answer.")]
    await here.look(run)
    assert await bench.facts(run, InstructionGiven) == []
    assert await here.status(run) is RunStatus.WATCHING
    here.forge.members[DEV] = 20
    await here.look(run)
    assert await bench.facts(run, InstructionGiven) == []


async def test_comments_that_cannot_be_read_do_not_end_the_watch(
    bench: Bench, caplog: pytest.LogCaptureFixture
):
    here = scene(bench)
    run = await here.published()
    review(here, talk("a", comment(1, DEV, "faster")))
    here.forge.faults["discussions"] = [ForgeRejected("There are too many.")]
    await here.look(run)
    await here.look(run)
    assert await here.status(run) is RunStatus.WATCHING
    assert here.forge.calls.count("discussions") == 1
    assert "review_not_heard" in caplog.text


async def test_without_comments_nothing_more_is_asked_of_gitlab(bench: Bench):
    here = scene(bench)
    run = await here.published()
    for _ in range(3):
        await here.look(run)
    assert "discussions" not in here.forge.calls
    review(here, talk("c", comment(3, GUEST, "nice")))
    for _ in range(3):
        await here.look(run)
    assert here.forge.calls.count("discussions") == 1


async def test_a_comment_sets_a_run_that_has_ended_going_again_once(bench: Bench):
    here = scene(bench)
    run = await ended(here)
    review(here, talk("a", comment(1, DEV, "say what it does")))
    hints = Hints(bench.db.store, on_note=lambda run: hear_review(bench.db.store, here.forge, run))
    note = Hint(kind=HintKind.NOTE, project=bench.project.path, branch=run.branch)
    assert await hints.hear(note)
    assert await hints.hear(note) is False
    assert await here.status(run) is RunStatus.QUEUED
    await here.work(run, README, FINISH)
    await here.effects(run)
    await here.look(run)
    assert here.forge.talk[1][0].resolved
    assert len(await bench.facts(run, InstructionGiven)) == 1
    who = involved(await bench.log(run))
    assert who.includes(LEE)


async def test_a_flood_of_comments_is_looked_at_now_and_then_and_none_is_lost(bench: Bench):
    here = scene(bench)
    run = await ended(here)
    review(here, talk("a", comment(1, GUEST, "nice")))
    store, clock = bench.db.store, FixedClock()
    turns = Turns(look=lambda run: hear_review(store, here.forge, run), clock=clock)
    hints = Hints(store, on_note=turns.ask)
    note = Hint(kind=HintKind.NOTE, project=bench.project.path, branch=run.branch)
    before = here.forge.calls.count("discussions")
    assert await hints.hear(note)
    await asyncio.gather(*(turns.ask(run.id) for _ in range(20)))
    assert here.forge.calls.count("discussions") - before == 2
    assert clock.slept == [15.0]
    review(here, talk("a", comment(1, GUEST, "nice"), comment(2, DEV, "say what it does")))
    assert await hints.hear(note)
    assert clock.slept == [15.0, 15.0]
    assert await here.status(run) is RunStatus.QUEUED


@pytest.mark.parametrize("why", ["merged", "guest", "taken over", "stopped"])
async def test_when_a_comment_sets_nothing_going(bench: Bench, why: str):
    here = scene(bench)
    run = await here.published()
    await here.says(run, "canceled")
    assert await here.status(run) is RunStatus.ESCALATED
    review(here, talk("a", comment(1, GUEST if why == "guest" else DEV, "say what it does")))
    match why:
        case "merged":
            here.forge.change(1, state="merged")
        case "taken over":
            await service(here).take_over(run.id, LEE)
        case "stopped":
            await service(here).stop(run.id, MIA, how="stop button")
            await service(here).stop(run.id, MIA, how="stop button")
            assert len(await bench.facts(run, StopAsked)) == 1
        case _:
            pass
    await hear_review(bench.db.store, here.forge, run.id)
    assert await here.status(run) is RunStatus.ESCALATED
    assert await bench.facts(run, InstructionGiven) == []


async def test_a_comment_takes_the_change_back_from_the_gate_and_bars_its_author(db: Database):
    gates = GateBench(db=db)
    run, gate = await gates.waiting()
    made = EffectDone(key="m", effect=EffectKind.OPEN_MERGE_REQUEST, result="!1", iid=gate.iid)
    await gates.write(run, made)
    gates.forge.talk[gate.iid] = [talk("a", comment(1, SAM.gitlab_id or 0, "faster"))]
    note = Hint(kind=HintKind.NOTE, project=run.request.project, branch=run.branch)
    hints = Hints(db.store, on_note=lambda run: hear_review(db.store, gates.forge, run))
    assert await hints.hear(note)
    state = await gates.state(run)
    assert (state.status, state.gate) == (RunStatus.QUEUED, None)
    assert state.gates[-1].closed is not None
    assert state.gates[-1].closed.outcome == "superseded"
    with pytest.raises(Refused):
        await gates.press(gate, SAM)
    assert involved(await db.store.events(run.id)).includes(SAM)


# --- taking over ---


async def test_whoever_takes_over_gets_the_merge_request_and_the_run_leaves_it(bench: Bench):
    here = scene(bench)
    run = await here.published()
    await here.says(run, "canceled")
    review(here)
    await service(here).take_over(run.id, LEE)
    await service(here).take_over(run.id, LEE)
    with pytest.raises(Refused, match="@lee has taken this over already"):
        await service(here).take_over(run.id, MIA)
    await here.effects(run)
    assert here.forge.assigned == {1: DEV}
    assert not here.forge.requests[0].draft
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED
    assert state.taken_over is not None
    assert here.forge.calls.count("assign") == 1

    await bench.service().instruct(run.id, "go on after all", MIA, message="9")
    assert (await bench.state(run)).taken_over is None


async def test_what_is_merged_cannot_be_taken_over(bench: Bench):
    here = scene(bench)
    run = await here.published()
    await here.says(run, "canceled")
    review(here)
    here.forge.change(1, state="merged")
    with pytest.raises(Refused, match="!1 is merged"):
        await service(here).take_over(run.id, LEE)
    assert (await bench.state(run)).taken_over is None


async def test_a_run_that_watches_ends_when_somebody_takes_over(bench: Bench):
    here = scene(bench)
    run = await here.published()
    review(here)
    await service(here).take_over(run.id, LEE)
    await here.effects(run)
    assert await here.status(run) is RunStatus.CANCELLED
    assert here.forge.assigned == {1: DEV}


async def test_what_was_taken_over_at_a_gate_is_not_approved_any_more(db: Database):
    gates = GateBench(db=db)
    run, gate = await gates.waiting()
    made = EffectDone(key="m", effect=EffectKind.OPEN_MERGE_REQUEST, result="!1", iid=gate.iid)
    await gates.write(run, made)
    runs = RunService(store=db.store, forge=gates.forge, projects=lambda path: gates.project)
    await runs.take_over(run.id, SAM)
    with pytest.raises(Refused):
        await gates.press(gate, replace(SAM, id="ULEE", gitlab_id=9))
    state = await gates.state(run)
    assert state.status is RunStatus.CANCELLED
    assert [type(intent) for _, intent in await db.store.pending_intents(run.id)] == [HandOver]


async def test_who_may_not_take_over(bench: Bench):
    here = scene(bench)
    run = await bench.ask()
    review(here)
    with pytest.raises(Refused, match="no merge request"):
        await service(here).take_over(run.id, LEE)
    guest = Person(id="U3", name="kim", gitlab_id=GUEST)
    with pytest.raises(Refused, match="you are a Reporter"):
        await service(here).take_over(run.id, guest)


async def test_set_going_again_before_it_was_handed_over_nothing_is_handed_over(bench: Bench):
    here = scene(bench)
    run = await here.published()
    await here.says(run, "canceled")
    review(here)
    await service(here).take_over(run.id, LEE)
    await bench.service().instruct(run.id, "go on", MIA, message="9")
    await here.effects(run)
    assert here.forge.assigned == {}
    (failed,) = await bench.facts(run, EffectFailed)
    assert "set the run going again" in failed.problem
