"""The model answers nonsense, or not at all."""

from __future__ import annotations

import re
from typing import Any

import pytest
from road import EDIT, FINISH, PLAN, ROUND, Reply, Road, fault, run, say

from agent.events import ContextCompacted, ModelFailed, ToolReturned
from agent.run import RunStatus

CALL = "chat/completions"
BROKEN = say(("edit", '{"path": "calc.py", "old": '))
LIST = say(("edit", "[1, 2]"))
UNKNOWN = say(("fly", {"to": "the moon"}))
EMPTY: dict[str, Any] = {"content": None}
TALK = {"content": "I would rather talk about it."}
CUT = {"content": "I begin to expl", "finish_reason": "length"}
CUT_CALL = say(("write", '{"path": "calc.py", "content": "def a'), finish_reason="length")


@pytest.mark.cell("F27", "W")
@pytest.mark.parametrize(
    "nonsense", [BROKEN, LIST, UNKNOWN, EMPTY, TALK, CUT, CUT_CALL], ids=range(7)
)
async def test_nonsense_is_answered_and_the_run_goes_on(road: Road, nonsense: Reply):
    road.script.replies = [PLAN, nonsense, nonsense, EDIT, FINISH]
    async with road.serving():
        result = await road.result(road.ask())
        assert "is done: draft merge request !1" in result.text
        told = road.script.told()
        assert "Invalid call: " in told or "Every answer must call a tool" in told


@pytest.mark.cell("F27", "W")
@pytest.mark.parametrize(
    ("nonsense", "told"),
    [
        (BROKEN, "made 3 tool calls in a row that could not be understood"),
        (UNKNOWN, "made 3 tool calls in a row that could not be understood"),
        (EMPTY, "gave 3 empty answers in a row"),
        (TALK, "answered 3 times in a row without calling a tool"),
        (CUT, "answered 3 times in a row without calling a tool"),
    ],
)
async def test_nonsense_three_times_ends_the_run_and_the_thread_says_why(
    road: Road, nonsense: Reply, told: str
):
    road.script.replies = [PLAN, EDIT, nonsense]
    async with road.serving():
        asked = road.ask()
        result = await road.result(asked)
        assert "needs a person" in result.text
        assert told in result.text
        assert len(road.model.requests) == 5
        assert road.merge_requests == []
        # what was changed before is not lost
        await road.reached(lambda state: state.pushed is not None)
        assert "return b + a" in await road.read("agent/1", "calc.py")


@pytest.mark.cell("F27", "W")
async def test_a_refusal_ends_the_run_in_the_models_words(road: Road):
    road.script.replies = [PLAN, {"content": None, "refusal": "I will not do <!channel> that."}]
    async with road.serving():
        result = await road.result(road.ask())
        assert "The model declined to go on: I will not do" in result.text
        assert "<!channel>" not in "\n".join(road.marked_up())
        assert len(road.model.requests) == 2


@pytest.mark.cell("F27", "W")
async def test_a_prompt_that_is_too_long_is_compacted_once(road: Road):
    road.script.replies = ROUND
    road.model.faults.set(fault("fail", CALL, nth=3, status=400, error="context_length_exceeded"))
    async with road.serving():
        result = await road.result(road.ask())
        assert "is done" in result.text
        assert len(await road.events(ContextCompacted)) == 1


@pytest.mark.cell("F27", "P")
async def test_a_window_that_is_always_too_small_ends_the_run(road: Road):
    road.model.faults.set(fault("fail", CALL, times=0, status=400, error="context_length_exceeded"))
    async with road.serving():
        result = await road.result(road.ask())
        assert "longer than the model's window" in result.text
        assert (await road.state()).status is RunStatus.FAILED


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (401, "invalid_api_key", "The model provider refused the key (401)."),
        (429, "insufficient_quota", "has no credit left"),
        (404, "model_not_found", "does not know the model"),
        (400, "invalid_value", "refused the request (400)"),
    ],
)
async def test_what_would_be_refused_again_is_not_asked_again(
    road: Road, status: int, error: str, told: str
):
    set_fault = road.model.faults.set(fault("fail", CALL, times=0, status=status, error=error))
    async with road.serving():
        asked = road.ask()
        result = await road.result(asked)
        assert told in result.text
        assert set_fault.hits == 1
        # once it is mended, a word in the thread goes on
        road.model.faults.clear()
        road.reply(asked, "@agent retry")
        await road.reached(lambda state: state.status is RunStatus.SUCCEEDED)
        assert len(road.merge_requests) == 1


@pytest.mark.cell("F26", "W")
async def test_too_many_requests_are_waited_for(road: Road):
    road.model.faults.set(fault("429", CALL, nth=2, seconds=1))
    async with road.serving():
        await road.result(road.ask())
        assert (await road.state()).status is RunStatus.SUCCEEDED
        [failed] = await road.events(ModelFailed)
        assert failed.retry_in >= 1


@pytest.mark.cell("F26", "W")
async def test_the_thread_tells_of_an_outage_and_what_it_does_about_it(road: Road):
    road.model.faults.set(fault("fail", CALL, nth=2, times=2, status=503))
    async with road.serving():
        result = await road.result(road.ask())
        assert "is done" in result.text
        shown = road.shown()
        told = r"The model provider is not answering \(503\). Retrying in \d+ s, 2 of 5. Nothing is"
        assert re.search(told, shown)


@pytest.mark.cell("F26", "W")
async def test_an_outage_without_end_keeps_the_work_and_retry_goes_on(road: Road):
    road.model.faults.set(fault("fail", CALL, nth=3, times=5, status=503))
    async with road.serving():
        asked = road.ask()
        result = await road.result(asked)
        assert "It was asked 5 times." in result.text
        assert "octagonal_sign" not in road.reactions(asked)
        road.reply(asked, "@agent retry")
        await road.reached(lambda state: state.status is RunStatus.SUCCEEDED)
        assert [mr.source_branch for mr in road.merge_requests] == ["agent/1"]
        assert len(road.script.prompts) == 3  # nothing was asked twice


@pytest.mark.cell("F26", "W")
async def test_an_answer_that_is_lost_is_asked_for_again(road: Road):
    road.model.faults.set(fault("drop_after_apply", CALL, nth=2))
    async with road.serving():
        result = await road.result(road.ask())
        assert "is done" in result.text
        assert "cannot be reached" in road.shown()
        tools = [event.tool for event in await road.events(ToolReturned)]
        assert tools == ["update_plan", "edit", "finish"]


@pytest.mark.cell("F26", "P")
async def test_a_model_that_is_not_there(road: Road):
    async with road.serving(OPENAI_BASE_URL="http://127.0.0.1:9/v1"):
        result = await road.result(road.ask())
        assert "The model provider cannot be reached. It was asked 5 times." in result.text
        assert "Nothing was changed." in str(result.blocks) or "Nothing had been" in str(
            result.blocks
        )


async def test_nothing_that_the_model_writes_pings_anybody(road: Road):
    ping = "<!channel> <!here> <@U0SAM> <!subteam^S1> @channel"
    road.script.replies = [
        say(("update_plan", {"steps": [{"title": ping, "status": "pending"}]})),
        say(edit_with(ping), run(f"echo '{ping}'")),
        say(("ask", {"question": ping, "choices": [ping, "no"]})),
        say(("finish", {"summary": ping})),
    ]
    async with road.serving():
        asked = road.ask()
        await road.mark(asked, "raised_hand")
        road.reply(asked, "no")
        await road.result(asked)
        marked_up = "\n".join(road.marked_up())
        for address in ("<!channel>", "<!here>", "<@U0SAM>", "<!subteam"):
            assert address not in marked_up
        assert "&lt;!channel&gt;" in marked_up
        [request] = road.merge_requests
        assert "<!channel>" not in request.title


def edit_with(text: str) -> tuple[str, dict[str, str]]:
    new = f"return b + a  # {text}"
    return "edit", {"path": "calc.py", "old": "return a + b", "new": new}
