"""Slack is away, repeats itself or loses the card while people decide."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from crossing import Crossing, never
from oracle import holds, standing
from road import fault, until

import bot.roles.front
import bot.roles.work
import bot.schedule
from agent.adapters.system_clock import SystemClock
from agent.events import GateRefused, GateVoted
from agent.run import RunId, RunStatus
from playground.slack.records import Message


class Ahead(SystemClock):
    """Of the service, some hours ahead of everybody else's."""

    hours = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(hours=Ahead.hours)


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> type[Ahead]:
    monkeypatch.setattr(Ahead, "hours", 0.0)
    monkeypatch.setattr(bot.roles.front, "SystemClock", Ahead)
    monkeypatch.setattr(bot.roles.work, "SystemClock", Ahead)
    monkeypatch.setattr(bot.schedule, "TICK", 0.3)
    return Ahead


async def before_the_gate(crossing: Crossing) -> None:
    """The pipeline runs; the next message is the card of the gate."""
    road = crossing.road
    waits = road.gitlab.faults.set(fault("job_waits", "job:agent/1:unit", seconds=2))
    crossing.ask()
    await until(lambda: waits.hits, 40, road.story)
    await until(lambda: "result:1" in standing(road, RunId(1)), story=road.story)


async def waiting(crossing: Crossing) -> None:
    await crossing.road.reached(lambda s: s.status is RunStatus.WAITING_FOR_APPROVAL, 40)


# --- posting the card


@pytest.mark.cell("F10", "G")
@pytest.mark.cell("F11", "G")
@pytest.mark.cell("F12", "G")
@pytest.mark.parametrize(
    ("mode", "times"), [("429", 3), ("drop_after_apply", 0), ("fail", 3)], ids=str
)
async def test_the_card_stands_once(crossing: Crossing, mode: str, times: int):
    road = crossing.road
    async with road.serving():
        await before_the_gate(crossing)
        broken = road.slack.faults.set(
            fault(mode, "chat.postMessage", times=times, status=503, seconds=1)
        )
        card = await crossing.card()
        assert broken.hits >= max(times, 1)
        road.slack.faults.clear()
        assert len(crossing.cards()) == 1
        assert await crossing.press("sam", card)
        await crossing.merged()


@pytest.mark.cell("F12", "G")
async def test_no_card_no_merge_while_slack_is_dark(crossing: Crossing):
    road = crossing.road
    async with road.serving():
        await before_the_gate(crossing)
        road.slack.faults.set(fault("fail", "*", times=0, status=503))
        await waiting(crossing)
        [gate] = (await road.state()).gates
        root = standing(road, RunId(1))["card"][0]
        forged = crossing.click("sam", _carrying(gate.gate.id, root))
        await crossing.send(forged)
        await until(lambda: _refused(crossing), 30, road.story)
        road.slack.faults.clear()
        road.slack.faults.set(fault("fail", "chat.postMessage", times=0, status=503))
        await crossing.send(crossing.click("sam", _carrying(gate.gate.id, root)))
        await until(lambda: _refused(crossing, "place"), 30, road.story)
        await crossing.waits()
        assert crossing.cards() == []
        road.slack.faults.clear()
        assert await crossing.press("sam", await crossing.card())
        await crossing.merged()


def _carrying(gate: str, message: Message) -> Message:
    """The message, with somebody's button on it."""
    button = {"type": "button", "action_id": "gate_approve", "value": gate}
    return replace(message, blocks=({"type": "actions", "elements": [button]},))


async def _refused(crossing: Crossing, check: str = "") -> bool:
    found = await crossing.road.events(GateRefused)
    return any(check in (each.check, "") for each in found)


@pytest.mark.cell("F12", "X")
async def test_what_was_decided_is_done_and_told_though_slack_is_dark_by_then(crossing: Crossing):
    road = crossing.road
    async with road.serving():
        card = await crossing.gate()
        assert await crossing.press("sam", card)
        await until(lambda: road.events(GateVoted), story=road.story)
        road.slack.faults.set(fault("fail", "*", times=0, status=503))
        await road.reached(lambda state: state.status is RunStatus.SUCCEEDED, 40)
        road.slack.faults.clear()
        await crossing.merged()


# --- clicks


@pytest.mark.cell("F13", "G")
async def test_a_click_that_is_delivered_four_times_counts_once(crossing: Crossing):
    async with crossing.road.serving():
        card = await crossing.gate()
        payload = crossing.click("sam", card)
        await asyncio.gather(*(crossing.send(payload) for _ in range(4)))
        await crossing.merged()
        await crossing.send(payload)
        await asyncio.sleep(0.3)
        assert len(await crossing.road.events(GateVoted)) == 1
        assert await crossing.refusals() == []


@pytest.mark.cell("F13", "G")
async def test_a_click_that_comes_after_the_decision_is_refused(crossing: Crossing):
    async with crossing.road.serving():
        card = await crossing.gate()
        late = crossing.click("lee", card)
        await crossing.reject("sam", card)
        await crossing.ended(RunStatus.CANCELLED)
        await crossing.send(late)
        await crossing.refused("This was already rejected by @sam", "lee")
        await crossing.ended(RunStatus.CANCELLED)
        assert await crossing.refusals() == [("lee", "open")]


async def test_a_click_that_comes_after_the_request_expired_is_refused(
    crossing: Crossing, ahead: type[Ahead], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bot.schedule, "TICK", 60)
    async with crossing.road.serving():
        card = await crossing.gate()
        ahead.hours = 25.0
        assert await crossing.press("sam", card)
        await crossing.refused("This request expired at")
        assert await crossing.refusals() == [("sam", "not_expired")]
        await crossing.waits()


@pytest.mark.cell("F31", "G")
async def test_a_request_that_nobody_decides_about_ends_and_says_so(
    crossing: Crossing, ahead: type[Ahead]
):
    async with crossing.road.serving():
        card = await crossing.gate()
        late = crossing.click("sam", card)
        ahead.hours = 25.0
        await crossing.unmerged("Nobody decided about `main` within 24 hours")
        await crossing.send(late)
        await crossing.refused("This request expired at")
        await crossing.unmerged()


@pytest.mark.cell("F14", "G")
async def test_the_socket_drops_between_card_and_click(crossing: Crossing):
    async with crossing.road.serving():
        card = await crossing.gate()
        await crossing.road.slack.sockets.cut()
        await until(lambda: crossing.press("sam", card))
        await crossing.merged()


# --- the place


@pytest.mark.cell("F15", "G")
@pytest.mark.parametrize("what", ["archived", "removed", "thread"])
async def test_without_a_thread_nothing_is_merged_who_asked_is_told_and_the_run_ends(
    crossing: Crossing, ahead: type[Ahead], what: str
):
    road = crossing.road
    async with road.serving():
        await before_the_gate(crossing)
        world = road.slack.world
        channel = world.channel_named("billing")
        match what:
            case "archived":
                world.set_channel(replace(channel, is_archived=True))
            case "removed":
                left = tuple(m for m in channel.members if m != world.app.bot_user)
                world.set_channel(replace(channel, members=left))
            case _:
                assert crossing.asked is not None
                for each in world.thread(channel.id, crossing.asked.ts):
                    road.slack.people.delete(each)
        await waiting(crossing)
        await never(crossing.cards)
        await until(lambda: _direct(crossing), story=road.story)
        [told] = _direct(crossing)
        assert "Nothing is merged" in told.text
        ahead.hours = 25.0
        state = await road.reached(lambda s: s.status is RunStatus.ESCALATED, 40)
        assert "expired" in state.reason
        assert road.merge_requests[0].state == "opened"
        await holds(road, thread=False)
        assert len(_direct(crossing)) == 1


def _direct(crossing: Crossing) -> list[Message]:
    """What the agent has said to Mia alone."""
    world = crossing.road.slack.world
    place = world.direct_message(world.user_named("mia").id).id
    return [m for m in world.messages.values() if m.channel == place]
