"""GitLab is down, slow, or changed by somebody else meanwhile."""

from __future__ import annotations

import pytest
from road import EDIT, FINISH, PLAN, ROUND, Road, fault, run, say, until

from agent.events import EffectDone, EffectFailed, StatusChanged
from agent.run import RunStatus

MERGE_REQUESTS = "POST /projects/:id/merge_requests"
PUSH = "POST git-receive-pack"
FETCH = "POST git-upload-pack"


@pytest.mark.cell("F18", "UM")
@pytest.mark.parametrize("call", [MERGE_REQUESTS, PUSH])
async def test_what_was_done_though_its_answer_was_lost_is_done_once(road: Road, call: str):
    cut = road.gitlab.faults.set(fault("drop_after_apply", call))
    async with road.serving():
        result = await road.result(road.ask())
        assert cut.hits == 1
        assert "draft merge request !1" in result.text
        assert [mr.source_branch for mr in road.merge_requests] == ["agent/1"]
        assert len(await road.events(EffectDone)) == 2


@pytest.mark.cell("F17", "PUM")
@pytest.mark.parametrize("call", [MERGE_REQUESTS, PUSH, "GET /projects/:id", FETCH])
@pytest.mark.parametrize("fails", [("fail", 503), ("429", 429)], ids=["503", "429"])
async def test_an_outage_is_waited_for(road: Road, call: str, fails: tuple[str, int]):
    mode, status = fails
    async with road.serving():
        outage = road.gitlab.faults.set(fault(mode, call, times=2, status=status, seconds=1))
        asked = road.ask()
        result = await road.result(asked)
        assert outage.hits == 2
        assert "is done: draft merge request !1" in result.text
        assert len(road.merge_requests) == 1
        assert await road.runs() == [1]


@pytest.mark.cell("F17", "P")
@pytest.mark.parametrize("call", ["GET /projects/:id", FETCH])
async def test_a_run_that_begins_in_a_long_outage_waits_for_its_end(road: Road, call: str):
    async with road.serving():
        outage = road.gitlab.faults.set(fault("fail", call, times=20, status=503))
        asked = road.ask()
        result = await road.result(asked)
        assert outage.hits == 20
        assert "is done: draft merge request !1" in result.text
        told = "GitLab is not answering, trying again in 1 s, 1 of 30; nothing is lost."
        assert told in [each.reason for each in await road.events(StatusChanged)]
        assert [mr.source_branch for mr in road.merge_requests] == ["agent/1"]


async def test_an_outage_at_the_request_keeps_the_message(road: Road):
    async with road.serving():
        outage = road.gitlab.faults.set(fault("fail", times=0, status=502))
        asked = road.ask()
        await road.whispered("Your message is kept, and I will try again by myself.")
        assert await road.runs() == []
        road.gitlab.faults.clear()
        assert outage.hits > 0
        await road.result(asked)
        assert len(road.merge_requests) == 1
        assert len(road.whispers()) == 1


async def test_gitlab_is_down_when_the_service_starts(road: Road):
    road.gitlab.faults.set(fault("fail", times=3, status=502))
    async with road.serving():
        await road.result(road.ask())
        assert len(road.merge_requests) == 1


async def test_the_base_branch_moves_during_the_run(road: Road):
    road.script.replies = [PLAN, EDIT, say(run("sleep 1")), FINISH]
    base = await road.git("rev-parse", "main")
    async with road.serving():
        asked = road.ask()
        await road.reached(lambda state: state.calls == 3)
        moved = await road.commit("main", "calc.py", "def add(a, b):\n    return sum((a, b))\n")
        await road.result(asked)
        assert await road.git("rev-parse", "main") == moved
        assert await road.git("merge-base", "main", "agent/1") == base
        assert (await road.state()).status is RunStatus.SUCCEEDED


@pytest.mark.cell("F23", "U")
async def test_somebody_pushed_to_the_branch_of_the_run(road: Road):
    more = say(("write", {"path": "README", "content": "It adds.\n"}))
    road.script.replies = [*ROUND, more, FINISH]
    async with road.serving():
        asked = road.ask()
        await road.result(asked)
        theirs = await road.commit("agent/1", "notes.txt", "mine")
        road.reply(asked, "@agent write a README, too")
        await until(lambda: len(road.said(asked)) == 3, story=road.story)
        result = road.said(asked)[-1]
        assert "Somebody else changed the branch agent/1" in result.text
        assert "Nothing was overwritten" in result.text
        assert await road.git("rev-parse", "agent/1") == theirs
        assert len(road.merge_requests) == 1


@pytest.mark.cell("F23", "U")
async def test_the_name_of_the_branch_is_taken(road: Road):
    await road.git("branch", "agent/1", "main")
    theirs = await road.git("rev-parse", "agent/1")
    async with road.serving():
        result = await road.result(road.ask())
        assert "Somebody else changed the branch agent/1" in result.text
        assert await road.git("rev-parse", "agent/1") == theirs
        assert road.merge_requests == []


@pytest.mark.cell("F24", "U")
async def test_the_token_may_not_write(road: Road):
    """It was taken away after the start."""
    async with road.serving():
        for name, token in list(road.gitlab.state.tokens.items()):
            if token.name == "write":
                del road.gitlab.state.tokens[name]
        asked = road.ask()
        await road.result(asked)
        state = await road.state()
        assert state.status in (RunStatus.ESCALATED, RunStatus.FAILED)
        [failed] = [e for e in await road.events(EffectFailed) if e.retry_in is None][:1]
        assert "Check the token, its scopes and its role." in failed.problem
        shown = str(road.said(asked)[-1].blocks)
        assert "Check the token, its scopes and its role." in shown
        assert "kept" in shown
        assert road.merge_requests == []
