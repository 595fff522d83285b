"""A freeze over the whole road: nothing goes on under it, and nothing is lost by it."""

from __future__ import annotations

import signal
import time

import pytest
from road import EDIT, FINISH, PLAN, PROJECT, Road, fault, own, run, say, sleeps, until
from test_crashes import MERGE_REQUESTS

from agent.events import EffectFailed, ModelAnswered, StopAsked
from agent.freeze import EVERYWHERE
from agent.run import Person, RunStatus
from playground import seed
from playground.slack.records import Message

LEE = Person(id="U0LEE", name="lee")
SHORT, MINUTE = own(3), own(61)


async def in_a_command(road: Road, seconds: str) -> Message:
    road.script.replies = [PLAN, EDIT, say(run(f"sleep {seconds}")), FINISH]
    asked = road.ask()
    await road.reached(lambda state: state.calls == 3)
    await until(lambda: sleeps(seconds), story=road.story)
    return asked


async def shown(road: Road, message: Message, words: str) -> None:
    await until(lambda: words in "".join(m.text for m in road.said(message)), story=road.story)


def operated_by(road: Road, name: str) -> None:
    operator = seed.account(road.gitlab.state, name).id
    tests = '[defaults]\ntest_command = "bash check.sh"\nwatch_pipeline = false\n'
    road.config(f"operators = [{operator}]\n{tests}")


@pytest.mark.alone
async def test_a_command_at_work_is_frozen_within_a_second_and_goes_on_afterwards(road: Road):
    async with road.serving():
        asked = await in_a_command(road, SHORT)
        began = time.monotonic()
        frozen = road.ask("freeze we deploy by hand", user="sam")
        await until(lambda: not sleeps(SHORT), 30)
        assert time.monotonic() - began < 1.0
        await shown(road, frozen, f"{PROJECT} frozen by @sam.")
        await shown(road, asked, ": frozen")
        state = await road.state()
        assert state.status is RunStatus.QUEUED
        assert state.reason == "Frozen by @sam: we deploy by hand"
        road.ask("unfreeze")
        await road.whispered("you are a Developer there, Maintainer is needed")
        road.ask("status")
        await road.whispered(f"*Frozen:* `{PROJECT}`, by <@U0SAM> since")

        road.ask("unfreeze", user="lee")
        await until(lambda: sleeps(SHORT), story=road.story)
        assert ": draft merge request !1 on" in (await road.result(asked)).text
        assert len(await road.events(ModelAnswered)) == 4
        assert await road.read("agent/1", "calc.py") == "def add(a, b):\n    return b + a"
        rows = await road.db.pool.fetch("SELECT deed, refused FROM operator_events ORDER BY id")
        done = [(row["deed"], not row["refused"]) for row in rows]
        assert done == [("freeze", True), ("unfreeze", False), ("unfreeze", True)]


async def test_a_merge_request_is_not_opened_before_the_freeze_ends(road: Road):
    down = road.gitlab.faults.set(fault("fail", MERGE_REQUESTS, times=0, status=503))
    async with road.serving():
        asked = road.ask()
        await until(lambda: down.hits == 1, story=road.story)
        await road.db.store.freeze(PROJECT, LEE, "an incident")
        await road.reached(lambda state: state.frozen is not None)
        tried = down.hits
        road.gitlab.faults.clear()
        await shown(road, asked, ": frozen")
        assert road.merge_requests == []
        await road.db.store.unfreeze(PROJECT, LEE, "")
        assert ": draft merge request !1 on" in (await road.result(asked)).text
        assert len(road.merge_requests) == 1
        assert len(await road.events(EffectFailed)) == tried


@pytest.mark.alone
async def test_a_freeze_reaches_other_processes_outlives_them_and_stop_all_ends_all(road: Road):
    operated_by(road, "sam")
    async with road.process() as process:
        asked = await in_a_command(road, MINUTE)
        began = time.monotonic()
        await road.db.store.freeze(EVERYWHERE, LEE, "")
        await until(lambda: not sleeps(MINUTE), 30)
        assert time.monotonic() - began < 1.0
        await road.reached(lambda state: state.status is RunStatus.QUEUED)
        await process.end(signal.SIGKILL)
    async with road.process():
        other = road.ask("and something else")
        await shown(road, other, ": frozen")
        assert (await road.state(1)).status is RunStatus.QUEUED
        thawed = road.ask("unfreeze everywhere", user="sam")
        await shown(road, thawed, "Everything unfrozen by @sam.")
        await until(lambda: sleeps(MINUTE), story=road.story)
        assert (await road.state(1)).calls == 3
        stopped = road.ask("stop all everywhere", user="sam")
        await shown(road, stopped, "2 runs of everything stopped by @sam.")
        await until(lambda: not sleeps(MINUTE), 30)
        await shown(road, asked, "Run 1 was stopped by @sam at step 3.")
        await shown(road, other, "Run 2 was stopped by @sam.")
        assert [event.how for event in await road.events(StopAsked)] == ["stop all"]
