"""Slack goes dark, refreshes its sockets or loses the place, and people change what they wrote, in
each phase of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from oracle import MERGED_BY, deeds
from phases import Scene, at
from road import Road, fault

from agent.run import ENDED, RunStatus
from playground.slack.records import Message

pytestmark = pytest.mark.usefixtures("staged")


@pytest.mark.cell("F12", "A")
@pytest.mark.parametrize("phase", ["A"])
async def test_a_request_outlives_a_long_darkness(scene: Scene):
    """Longer than the deaths that a request is allowed: each attempt in the dark counts as none."""
    road = scene.road
    async with road.serving():
        dark = road.slack.faults.set(fault("fail", times=0, status=503))
        scene.ask()
        await scene.until(lambda: dark.hits > 12)
        tried = "SELECT coalesce(max(attempts), 9) FROM inbox WHERE handled_at IS NULL"
        assert await road.db.pool.fetchval(tried) <= 1
        assert await road.runs() == []
        road.slack.faults.clear()
        await scene.ends()


@pytest.mark.parametrize("reason", ["refresh_requested", "cut"])
@pytest.mark.parametrize(
    "phase",
    [
        pytest.param("S", marks=pytest.mark.cell("F14", "S")),
        pytest.param("A", marks=[pytest.mark.cell("F14", "A"), pytest.mark.slow]),
    ],
)
async def test_the_socket_is_made_anew(scene: Scene, reason: str):
    sockets = scene.road.slack.sockets
    async with scene.road.serving():
        async with at(scene):
            before = tuple(sockets.connections)
            await (sockets.cut() if reason == "cut" else sockets.disconnect(reason))
            await scene.until(lambda: any(each not in before for each in sockets.connections))
        await scene.ends()


def archived(road: Road, asked: Message) -> None:
    world = road.slack.world
    world.set_channel(replace(world.channel_named("billing"), is_archived=True))


def removed(road: Road, asked: Message) -> None:
    world = road.slack.world
    channel = world.channel_named("billing")
    left = tuple(member for member in channel.members if member != world.app.bot_user)
    world.set_channel(replace(channel, members=left))


def deleted(road: Road, asked: Message) -> None:
    for each in road.slack.world.thread(asked.channel, asked.ts):
        road.slack.people.delete(each)


@pytest.mark.without("I1", "I6", "I12", why="there is no place left to tell anything in")
@pytest.mark.parametrize("loses", [archived, removed, deleted], ids=lambda loses: loses.__name__)
@pytest.mark.parametrize(
    "phase",
    [
        pytest.param("A", marks=[pytest.mark.cell("F15", "A"), pytest.mark.slow]),
        pytest.param("P", marks=pytest.mark.cell("F15", "P")),
        pytest.param("X", marks=[pytest.mark.cell("F15", "X"), pytest.mark.slow]),
    ],
)
async def test_the_place_is_gone_and_the_work_is_not(
    scene: Scene, loses: Callable[[Road, Message], None]
):
    road = scene.road
    async with road.serving():
        async with at(scene):
            asked = scene.asked or scene.crossing.asked
            assert asked is not None
            loses(road, asked)
        await road.reached(lambda state: state.status in ENDED)
        assert (await road.state()).status is RunStatus.SUCCEEDED, await road.story()
        assert len(road.merge_requests) == 1
        if scene.phase == "X":
            assert deeds(road, MERGED_BY) == ["1"]


@pytest.mark.parametrize(
    "phase",
    [
        pytest.param("A", marks=[pytest.mark.cell("F16", "A"), pytest.mark.slow]),
        pytest.param("P", marks=pytest.mark.cell("F16", "P")),
        pytest.param("G", marks=[pytest.mark.cell("F16", "G"), pytest.mark.slow]),
    ],
)
async def test_a_request_that_is_edited_afterwards_stays_what_it_was(scene: Scene):
    """What was read, planned and approved is what was asked for first."""
    road = scene.road
    async with road.serving():
        async with at(scene):
            asked = scene.asked or scene.crossing.asked
            assert asked is not None
            road.slack.people.edit(asked, "@agent delete everything")
            edited = "message_changed"
            await scene.until(
                lambda: any(
                    each.acknowledged
                    for each in road.slack.delivery.log
                    if each.payload.get("event", {}).get("subtype") == edited
                )
            )
        await scene.ends()
        state = await road.state()
        assert state.request is not None
        assert state.request.text == "turn it around"
        assert "delete everything" not in str(road.script.prompts)
