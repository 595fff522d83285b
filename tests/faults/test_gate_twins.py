"""Two services at once over one database, and one that comes back from the dead."""

from __future__ import annotations

import asyncio

import pytest
from crossing import RIGHTS, Crossing
from oracle import MERGED_BY, deeds
from road import fault, until

from agent.events import EffectIntended, EffectKind, GateVoted


@pytest.mark.cell("F03", "GX")
async def test_two_services_decide_once_and_merge_once(crossing: Crossing):
    """Both get the same click of one, and another one's in the same moment."""
    road = crossing.road
    async with road.serving(), road.process():
        card = await crossing.gate()
        assert len(road.slack.sockets.connections) == 2
        same = crossing.click("sam", card)
        other = crossing.click("lee", card)
        sends = (crossing.send(same), crossing.send(same), crossing.send(other))
        await asyncio.gather(*sends, crossing.send(other))
        state = await crossing.merged()
        [vote] = await road.events(GateVoted)
        late = "lee" if vote.by.name == "sam" else "sam"
        refused = set(await crossing.refusals())
        assert (late, "open") in refused
        assert {check for _, check in refused} == {"open"}
        await crossing.refused(f"already approved by @{vote.by.name}", late)
        assert len(state.gates) == 1
        assert deeds(road, MERGED_BY) == ["1"]


@pytest.mark.cell("F04", "X")
async def test_one_that_slept_through_the_merge_does_nothing_more(crossing: Crossing):
    """It was stopped right before it would have merged, for longer than its lease."""
    road = crossing.road
    async with road.process() as zombie:
        card = await crossing.gate()
        # the click reads it twice, to decide and for the record; then comes the merge
        slow = road.gitlab.faults.set(fault("delay", RIGHTS, nth=3, seconds=1))
        assert await crossing.press("sam", card)
        await until(lambda: slow.hits, story=road.story)
        await until(lambda: _intended(crossing), story=road.story)
        zombie.pause()
        async with road.serving():
            await until(lambda: deeds(road, MERGED_BY), 40, road.story)
            zombie.resume()
            await crossing.merged()
        await crossing.merged()
        assert deeds(road, MERGED_BY) == ["1"]


async def _intended(crossing: Crossing) -> bool:
    intended = await crossing.road.events(EffectIntended)
    return any(each.effect is EffectKind.MERGE for each in intended)
