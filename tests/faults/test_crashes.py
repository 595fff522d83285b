"""The service is stopped or killed in the middle of a run, and started again."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from road import EDIT, FINISH, PLAN, Process, Road, fault, run, say, until

from agent.events import CheckpointTaken, ModelAnswered, RunClaimed, TestsRan
from agent.run import RunStatus
from bot.build import sandbox_folder
from playground.slack.records import Message
from playground.slack.world import Change

ENDS = [pytest.param(signal.SIGKILL, id="killed"), pytest.param(signal.SIGINT, id="ctrl-c")]
MERGE_REQUESTS = "POST /projects/:id/merge_requests"
COMMAND = say(run("echo begun >> /workspace/log; sleep 2; echo done >> /workspace/log"))


async def stopped(process: Process, by: signal.Signals) -> None:
    code = await process.end(by)
    assert code == (0 if by is signal.SIGINT else -by)


async def one_of_each(road: Road, asked: Message) -> None:
    """What people see in the end: as if nothing had happened."""
    result = await road.result(asked, seconds=90)
    assert ": draft merge request !1 on" in result.text, await road.story()
    assert [mr.source_branch for mr in road.merge_requests] == ["agent/1"]
    assert len(road.said(asked)) == 2, await road.story()
    assert await road.runs() == [1]
    assert await road.read("agent/1", "calc.py") == "def add(a, b):\n    return b + a"
    assert await road.git("rev-list", "--count", "main..agent/1") == "1"


@pytest.mark.cell("F01", "W")
@pytest.mark.parametrize("by", ENDS)
async def test_while_the_model_answers(road: Road, by: signal.Signals):
    waits = road.model.faults.set(fault("delay", "chat/completions", nth=3, seconds=3))
    async with road.process() as process:
        asked = road.ask()
        await until(lambda: waits.hits == 1, story=road.story)
        await stopped(process, by)
    assert (await road.state()).status is RunStatus.WORKING
    waits = road.model.faults.set(fault("hang", "chat/completions"))
    async with road.process():
        told = "resumed after a restart at step 2"
        await until(lambda: told in road.shown(), story=road.story)
        await until(lambda: waits.hits == 1, story=road.story)
        road.model.faults.clear()
        await one_of_each(road, asked)
        assert told not in road.said(asked)[1].text + str(road.said(asked)[1].blocks)
        assert len(await road.events(ModelAnswered)) == 3


@pytest.mark.cell("F01", "W")
@pytest.mark.parametrize("by", ENDS)
async def test_during_a_command(road: Road, by: signal.Signals):
    road.script.replies = [PLAN, EDIT, COMMAND, FINISH]
    work = sandbox_folder(Path(road.env["JOURNEYMAN_HOME"])) / "work"
    async with road.process() as process:
        asked = road.ask()
        await road.reached(lambda state: state.calls == 3)
        await stopped(process, by)
    left = {*work.iterdir()}
    assert left or by is not signal.SIGKILL
    async with road.process():
        assert not left & {*work.iterdir()}
        await one_of_each(road, asked)
        # the command began anew in a tree as it was before it
        assert await road.read("agent/1", "log") == "begun\ndone"
        assert len(await road.events(CheckpointTaken)) == 2


@pytest.mark.cell("F01", "M")
@pytest.mark.parametrize("by", ENDS)
async def test_between_push_and_merge_request(road: Road, by: signal.Signals):
    """The request is on its way when its sender dies: it arrives later than the second start."""
    waits = road.gitlab.faults.set(fault("delay", MERGE_REQUESTS, seconds=4))
    async with road.process() as process:
        asked = road.ask()
        await until(lambda: waits.hits == 1, story=road.story)
        await stopped(process, by)
    async with road.process():
        await one_of_each(road, asked)


@pytest.mark.cell("F01", "M")
async def test_after_the_merge_request_and_before_its_answer(road: Road):
    async with road.process() as process:
        road.gitlab.faults.set(fault("drop_after_apply", MERGE_REQUESTS))
        asked = road.ask()
        await until(lambda: road.merge_requests, story=road.story)
        await stopped(process, signal.SIGKILL)
    async with road.process():
        await one_of_each(road, asked)


@pytest.mark.cell("F01", "T")
async def test_while_the_tests_run(road: Road):
    slow = "sleep 1; bash check.sh"
    road.config(f'[defaults]\ntest_command = "{slow}"\nwatch_pipeline = false\n')
    async with road.process() as process:
        asked = road.ask()
        await road.reached(lambda state: state.status is RunStatus.TESTING)
        await stopped(process, signal.SIGKILL)
    async with road.process():
        await one_of_each(road, asked)
        ran = [event.where for event in await road.events(TestsRan)]
        assert sorted(ran) == ["base", "change"]


@pytest.mark.cell("F01", "S")
@pytest.mark.parametrize("nth", [1, 2], ids=["card", "result"])
async def test_after_a_message_and_before_its_answer(road: Road, nth: int):
    async with road.process() as process:
        posted = 0

        def kill(change: Change) -> None:
            nonlocal posted
            message = road.slack.world.messages.get((change.channel, change.ts))
            if change.kind == "message" and message and not message.edited_ts:
                posted += message.user == road.slack.world.app.bot_user and not message.reactions
                if posted == nth:
                    process.kill()

        end = road.slack.world.subscribe(kill)
        asked = road.ask()
        await process.ended()
        end()
    assert len(road.said(asked)) == nth
    async with road.process():
        await one_of_each(road, asked)


@pytest.mark.cell("F01", "W")
async def test_again_and_again(road: Road):
    """Each start gets only a little further."""
    road.script.replies = [PLAN, EDIT, say(run("true")), say(run("true; true")), FINISH]
    road.model.faults.set(fault("delay", "chat/completions", times=0, seconds=0.3))
    asked: Message | None = None
    for step in (1, 2, 3, 4):
        async with road.process() as process:
            asked = asked or road.ask()
            await road.reached(lambda state, step=step: state.calls >= step)
            await stopped(process, signal.SIGKILL)
    async with road.process():
        assert asked is not None
        await one_of_each(road, asked)
        assert len(await road.events(ModelAnswered)) == 5
        claims = await road.events(RunClaimed)
        # the last one only takes in what the effect plane did
        assert [claim.resumed for claim in claims] == [False, True, True, True, True, False]
