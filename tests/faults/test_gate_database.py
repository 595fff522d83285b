"""PostgreSQL goes away while people decide, and while what they decided is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from crossing import Crossing
from oracle import MERGED_BY, deeds
from road import fault, until
from wire import Wire

import agent.adapters.postgres_retry
from agent.events import GateVoted, kind_of
from playground.gitlab.state import Change
from playground.slack.records import Message


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent.adapters.postgres_retry, "_PATIENCE", 0.7)


@pytest.fixture
async def wire(crossing: Crossing) -> AsyncIterator[Wire]:
    async with Wire(crossing.road.env["DATABASE_URL"]) as opened:
        yield opened


async def stored(crossing: Crossing, card: Message) -> None:
    """Sam has pressed, and nothing has been checked yet."""
    road = crossing.road
    slow = road.slack.faults.set(fault("delay", "users.info", seconds=1))
    assert await crossing.press("sam", card)
    await until(lambda: slow.hits, story=road.story)


@pytest.mark.cell("F05", "G")
async def test_a_restart_in_the_middle_of_a_click_changes_nothing(crossing: Crossing, wire: Wire):
    async with crossing.road.serving(DATABASE_URL=wire.url):
        card = await crossing.gate()
        await stored(crossing, card)
        wire.cut()
        await crossing.merged()
        assert len(await crossing.road.events(GateVoted)) == 1


@pytest.mark.cell("F06", "G")
async def test_a_click_that_cannot_be_stored_is_not_taken(crossing: Crossing, wire: Wire):
    async with crossing.road.serving(DATABASE_URL=wire.url):
        card = await crossing.gate()
        wire.cut(down=True)
        assert not await crossing.press("sam", card)  # Slack says so to who pressed
        wire.down = False
        await asyncio.sleep(1.5)
        assert (await crossing.waits()).gates[0].votes == ()
        assert await crossing.press("sam", card)
        await crossing.merged()


@pytest.mark.cell("F06", "G")
async def test_a_click_that_cannot_be_decided_is_refused_and_stays_so(
    crossing: Crossing, wire: Wire
):
    """It was stored; whoever was told that nothing was decided can rely on it."""
    async with crossing.road.serving(DATABASE_URL=wire.url):
        card = await crossing.gate()
        await stored(crossing, card)
        wire.cut(down=True)
        await crossing.refused("othing was decided")
        await asyncio.sleep(1.5)  # nor can be stored that this was told
        wire.down = False
        await asyncio.sleep(2.0)  # what was left undone is taken up again within half a second
        assert (await crossing.waits()).gates[0].votes == ()
        assert await crossing.press("sam", card)
        await crossing.merged()
        assert len(await crossing.road.events(GateVoted)) == 1


@pytest.mark.cell("F05", "G")
async def test_a_decision_that_was_stored_though_the_answer_was_lost_counts_once(
    crossing: Crossing, wire: Wire
):
    async with crossing.road.serving(DATABASE_URL=wire.url):
        card = await crossing.gate()
        wire.lose = kind_of(GateVoted).encode()
        assert await crossing.press("sam", card)
        await crossing.merged()
        assert wire.lost == 1
        assert len(await crossing.road.events(GateVoted)) == 1
        assert crossing.road.whispers("sam") == []


@pytest.mark.cell("F06", "X")
async def test_a_merge_whose_outcome_cannot_be_stored_is_read_back(crossing: Crossing, wire: Wire):
    road = crossing.road
    async with road.serving(DATABASE_URL=wire.url):
        card = await crossing.gate()

        def cut(change: Change) -> None:
            if change.kind == "merge_request" and road.merge_requests[0].state == "merged":
                over()
                wire.cut(down=True)

        over = road.gitlab.state.subscribe(cut)
        assert await crossing.press("sam", card)
        await until(lambda: wire.down, 40, road.story)
        await asyncio.sleep(1.5)
        wire.down = False
        await crossing.merged()
        assert deeds(road, MERGED_BY) == ["1"]
