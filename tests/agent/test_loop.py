"""What the loop does when the model, people or limits get in its way."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from engine_bench import BAD, FINISH, GOOD, MIA, PLAN, Bench

from agent import hands
from agent.errors import ModelRejected, StoreUnavailable
from agent.events import (
    ContextCompacted,
    HealStarted,
    InstructionTaken,
    ToolReturned,
    ToolStarted,
)
from agent.ports import Answer, Message, ToolCall
from agent.run import Digest, Person, RunStatus, Usage
from agent.testing import Reply, ScriptedModel, call, say

SAM = Person(id="U2", name="sam", gitlab_id=8)


@dataclass(kw_only=True)
class Interrupted(ScriptedModel):
    """Something happens while the model works on its answer number `at`."""

    at: int
    deed: Callable[[], Awaitable[object]]

    async def complete(self, *args: Any, **more: Any) -> Answer:
        answer = await super().complete(*args, **more)
        if self.given == self.at:
            await self.deed()
        return answer


async def ends_with(bench: Bench, replies: list[Reply]) -> str:
    run = await bench.ask("in vain")
    await bench.go(run, replies)
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED, await bench.story(run)
    return state.reason


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (("edit", "{broken"), "not valid JSON"),
        (("edit", "[1]"), "one JSON object"),
        (("fly", "{}"), "there is no tool `fly`. Tools: search, read, edit"),
        (("read", "{}"), "`path` is missing"),
        (("update_plan", '{"steps": [{"title": "a", "status": "later"}]}'), "must be one of"),
        (("read", '{"path": 7}'), "`path` must be a string"),
    ],
)
async def test_nonsense_is_answered_and_ends_the_loop_after_three(
    bench: Bench, bad: tuple[str, str], told: str
):
    run = await bench.ask()
    model = await bench.go(run, [say(bad), say(bad), say(bad)])
    assert f"Invalid call: {told}"[:14] in model.prompts[1].decode()
    assert told in model.prompts[1].decode()
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED
    assert "3 tool calls in a row that could not be understood" in state.reason


async def test_a_good_call_between_forgives_the_bad_ones(bench: Bench):
    run = await bench.ask()
    bad, look = say(("fly", "{}")), say(call("read", path="calc.py"))
    await bench.go(run, [bad, bad, look, bad, bad, PLAN, GOOD, FINISH])
    assert (await bench.state(run)).status is RunStatus.PUBLISHING


async def test_empty_answers_are_nudged_then_end(bench: Bench):
    reason = await ends_with(bench, [say(), say(), say()])
    assert reason.startswith("The model gave 3 empty answers in a row.")


async def test_talk_without_a_tool_is_nudged_then_ends(bench: Bench):
    run = await bench.ask()
    model = await bench.go(run, [say(text="Sure!"), PLAN, GOOD, FINISH])
    assert b"Every answer must call a tool" in model.prompts[1]
    assert (await bench.state(run)).status is RunStatus.PUBLISHING
    reason = await ends_with(bench, [say(text=word) for word in ("Well", "So", "Hm")])
    assert "3 times in a row without calling a tool" in reason


@pytest.mark.cell("F28", "W")
async def test_the_same_call_three_times_ends_unless_its_result_changes(bench: Bench):
    same = say(call("read", path="calc.py"))
    reason = await ends_with(bench, [same, same, same])
    assert "`read` 3 times in a row" in reason

    run = await bench.ask("poll")
    poll = say(call("run", command="echo x >> log; wc -l < log; rm -f nothing"))
    await bench.go(run, [PLAN, poll, poll, poll, poll, FINISH])
    assert (await bench.state(run)).status is RunStatus.PUBLISHING, await bench.story(run)


@pytest.mark.cell("F28", "W")
async def test_a_circle_of_two_ends_after_six(bench: Bench):
    one, two = say(call("read", path="calc.py")), say(call("read", path="check.sh"))
    reason = await ends_with(bench, [one, two] * 3)
    assert "circle: `read` and `read`, 6 calls" in reason


async def test_a_refusal_of_the_provider_ends_with_its_words(bench: Bench):
    run = await bench.ask()
    said = Message(role="assistant", content="I can't help with that.")
    refusal = Answer(message=said, finish="content_filter", usage=Usage(steps=1), model="m")
    await bench.go(run, [refusal])
    state = await bench.state(run)
    assert state.status is RunStatus.FAILED
    assert "declined to go on: I can't help with that." in state.reason


async def test_an_answer_cut_at_its_limit_is_told(bench: Bench):
    run = await bench.ask()
    said = Message(role="assistant", content="Once upon a")
    cut = Answer(message=said, finish="length", usage=Usage(steps=1), model="m")
    model = await bench.go(run, [cut, PLAN, GOOD, FINISH])
    assert b"cut at the model's length limit" in model.prompts[1]


async def test_several_calls_run_in_order_and_nothing_runs_before_a_plan(bench: Bench):
    run = await bench.ask()
    both = say(call("write", path="a", content="1"), *map(_pair, PLAN.tool_calls))
    more = say(call("write", path="a", content="2"), call("run", command="cat a; exit 3"))
    model = await bench.go(run, [both, more, GOOD, FINISH])
    assert b"Call `update_plan` first" in model.prompts[1]
    returned = await bench.facts(run, ToolReturned)
    assert [r.tool for r in returned[:4]] == ["write", "update_plan", "write", "run"]
    assert [r.ok for r in returned[:4]] == [False, True, True, False]
    assert b"exit 3\\n2" in model.prompts[2]
    assert returned[3].summary.startswith("cat a; exit 3: exit 3 in ")


def _pair(call: ToolCall) -> tuple[str, str]:
    return call.name, call.arguments


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"steps": 2}, "limit of 2 steps"),
        ({"tokens": 2_000}, "limit of 2,000 tokens"),
        ({"money": 0.5}, "limit of $0.50"),
        ({"seconds": 120.0}, "limit of 2 minutes of work"),
    ],
)
async def test_a_limit_is_checked_before_each_call_and_said(
    bench: Bench, limits: dict[str, float], told: str
):
    run = await bench.ask(limits=limits)
    usage = Usage(steps=1, prompt_tokens=1000, completion_tokens=50, money=0.3)
    look = say(call("read", path="calc.py"))

    def slow(messages: object) -> Message:
        bench.clock.advance(70)
        return PLAN if bench.clock.monotonic() < 80 else look

    model = await bench.go(run, [slow, slow, look], usage=usage)
    state = await bench.state(run)
    assert state.status is RunStatus.ESCALATED
    assert told in state.reason
    assert model.given == 2


async def test_a_follow_up_after_a_limit_has_a_new_allowance(bench: Bench):
    run = await bench.ask(limits={"steps": 2})
    await bench.go(run, [say(call("read", path="calc.py")), PLAN])
    assert (await bench.state(run)).status is RunStatus.ESCALATED
    await bench.service().instruct(run.id, "go on", MIA, message="2")
    await bench.go(run, [GOOD, FINISH])
    assert (await bench.state(run)).status is RunStatus.PUBLISHING


async def test_what_people_add_reaches_the_model_between_two_steps(bench: Bench):
    run = await bench.ask()
    service = bench.service()

    async def add() -> None:
        await service.instruct(run.id, "in Dutch, please", SAM, message="9")

    bench_model = Interrupted(replies=[PLAN, GOOD, FINISH], at=2, deed=add)
    await bench.worker(bench_model).advance(run.id)
    assert b"Dutch" not in bench_model.prompts[1]
    assert b"sam (U2) adds:\\nin Dutch, please" in bench_model.prompts[2]
    taken = await bench.facts(run, InstructionTaken)
    assert [t.step for t in taken] == [3]
    assert (await bench.state(run)).waiting_followups == ()


async def test_what_comes_at_the_very_end_is_not_lost(bench: Bench):
    run = await bench.ask()
    service = bench.service()
    await bench.go(run, [PLAN, GOOD, FINISH])
    await service.instruct(run.id, "and a readme", MIA, message="3")
    await bench.publish(run)
    readme = say(call("write", path="README", content="It adds.\n"))
    model = await bench.go(run, [readme, FINISH])
    assert b"and a readme" in model.prompts[0]
    state = await bench.state(run)
    assert state.status is RunStatus.PUBLISHING
    assert len(state.commits) == 2


async def test_a_command_that_takes_a_while_is_named_while_it_runs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hands, "SLOW", 0.2)
    run = await bench.ask()
    slow = say(call("run", command="sleep 0.6; echo done"))
    await bench.go(run, [PLAN, slow, GOOD, FINISH])
    log = [event.payload for event in await bench.log(run)]
    (started,) = [p for p in log if isinstance(p, ToolStarted)]
    assert started.summary == "sleep 0.6; echo done"
    returned = next(p for p in log if isinstance(p, ToolReturned) and p.tool == "run")
    assert log.index(started) < log.index(returned)
    assert (await bench.state(run)).doing is None


LONG = "for n in $(seq 20000); do echo line number $n; done"


def place(messages: Sequence[Message]) -> str:
    """Where the newest result says that all of it lies."""
    found = re.search(r"/output/\w+\.txt", messages[-1].content or "")
    assert found, messages[-1].content
    return found[0]


async def test_all_that_a_command_printed_can_be_read_by_range_and_searched(bench: Bench):
    run = await bench.ask()
    seen: list[str] = []

    def look(messages: Sequence[Message]) -> Message:
        seen.append(place(messages))
        grep = f"grep -c number {seen[0]}; echo no > {seen[0]}"
        return say(call("read", path=seen[0], start=9999, end=9999), call("run", command=grep))

    model = await bench.go(run, [PLAN, say(call("run", command=LONG)), look, GOOD, FINISH])
    assert b"9999\\tline number 9999" in model.prompts[3]
    assert b"20000\\n" in model.prompts[3]
    assert b"Read-only file system" in model.prompts[3]
    printed = [each for each in await bench.facts(run, ToolReturned) if each.whole]
    assert len(printed) == 1
    kept = (await bench.db.store.body(run.id, printed[0].whole or Digest(""))).decode()
    assert kept.splitlines() == [f"line number {n}" for n in range(1, 20_001)]
    assert [file.path for file in (await bench.state(run)).commits[-1].files] == ["calc.py"]


async def test_another_host_has_what_was_printed_before(bench: Bench):
    run = await bench.ask()
    seen: list[str] = []

    def crash(messages: Sequence[Message]) -> Message:
        seen.append(place(messages))
        raise StoreUnavailable("gone")

    with pytest.raises(StoreUnavailable):
        await bench.go(run, [PLAN, say(call("run", command=LONG)), crash])

    def look(messages: Sequence[Message]) -> Message:
        return say(call("read", path=seen[0], start=20_000))

    model = await bench.go(run, [look, GOOD, FINISH])
    assert b"20000\\tline number 20000" in model.prompts[1], await bench.story(run)


async def test_long_output_does_not_hide_that_the_model_repeats_itself(bench: Bench):
    timed = say(call("run", command=f"{LONG}; printf '1.%05d s' $RANDOM"))
    reason = await ends_with(bench, [PLAN, timed, timed, timed])
    assert "`run` 3 times in a row" in reason


async def test_planning_and_repairs_have_models_of_their_own(bench: Bench):
    bench.project = replace(bench.project, model_plan="thinker", model_repair="mender")
    run = await bench.ask()
    mend = say(call("edit", path="calc.py", old="return a - b", new="return b + a"))
    model = await bench.go(run, [PLAN, BAD, FINISH, mend, FINISH])
    assert model.asked == ["thinker", None, None, "mender", "mender"]
    await bench.publish(run)

    named = await bench.ask("with this one", model="chosen")
    model = await bench.go(named, [PLAN, GOOD, FINISH])
    assert model.asked == ["chosen"] * 3

    bench.project = replace(bench.project, model="ours")
    own = await bench.ask("with ours")
    model = await bench.go(own, [PLAN, GOOD, FINISH])
    assert model.asked == ["ours"] * 3


async def test_the_window_that_counts_is_that_of_the_model_asked(bench: Bench):
    bench.project = replace(bench.project, model_repair="mender")
    run = await bench.ask()
    mend = say(call("edit", path="calc.py", old="return a - b", new="return b + a"))
    usage, windows = Usage(steps=1, prompt_tokens=9_000), {"mender": 10_000}
    await bench.go(run, [PLAN, BAD, FINISH, mend, FINISH], usage=usage, windows=windows)
    kinds = [type(event.payload) for event in await bench.log(run)]
    assert kinds.count(ContextCompacted) == 2, await bench.story(run)
    assert kinds.index(ContextCompacted) > kinds.index(HealStarted)


async def test_the_model_may_give_its_tests_less_time(bench: Bench):
    bench.project = replace(bench.project, test_command="sleep 60")
    run = await bench.ask()
    look = say(call("run_tests", timeout=1))
    model = await bench.go(run, [PLAN, look, ModelRejected("enough")])
    assert b"stopped: timeout after" in model.prompts[2]
