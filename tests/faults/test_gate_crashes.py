"""The service is killed or stopped while people decide, and while what they decided is done."""

from __future__ import annotations

import signal

import pytest
from crossing import DEPLOYS, RIGHTS, Crossing
from oracle import PLAYED, deeds
from road import Process, fault, until

from agent.events import EffectIntended, EffectKind, GateClosed, GateVoted
from agent.run import RunStatus
from playground.gitlab.state import Change

KILL, TERM = signal.SIGKILL, signal.SIGTERM
BOTH = pytest.mark.parametrize("by", [KILL, TERM], ids=["killed", "stopped"])


async def gone(process: Process, by: signal.Signals) -> None:
    code = await process.end(by)
    assert code == (-KILL if by is KILL else 0)


async def begun(crossing: Crossing, kind: EffectKind) -> bool:
    return any(each.effect is kind for each in await crossing.road.events(EffectIntended))


@pytest.mark.cell("F01", "G")
@pytest.mark.cell("F02", "G")
@BOTH
async def test_while_the_gate_waits(crossing: Crossing, by: signal.Signals):
    road = crossing.road
    async with road.process() as process:
        card = await crossing.gate()
        await gone(process, by)
        assert not await crossing.press("sam", card)  # Slack says so to who pressed
    async with road.process():
        assert (await crossing.waits()).gates[0].refused == ()
        assert await crossing.press("sam", card)
        await crossing.merged()
        assert len(await road.events(GateVoted)) == 1


@pytest.mark.cell("F01", "G")
async def test_after_the_click_was_stored_and_before_it_was_decided(crossing: Crossing):
    road = crossing.road
    async with road.process() as process:
        card = await crossing.gate()
        slow = road.slack.faults.set(fault("delay", "users.info", seconds=5))
        assert await crossing.press("sam", card)
        await until(lambda: slow.hits)
        await gone(process, KILL)
        await crossing.waits()
    async with road.process():
        await crossing.merged()
        assert [vote.by.name for vote in await road.events(GateVoted)] == ["sam"]


@pytest.mark.cell("F01", "X")
async def test_after_the_merge_was_intended_and_before_it_was_asked_for(crossing: Crossing):
    road = crossing.road
    async with road.process() as process:
        card = await crossing.gate()
        assert await crossing.press("sam", card)
        await until(lambda: road.events(GateClosed), story=road.story)
        road.gitlab.faults.set(fault("delay", RIGHTS, seconds=5))
        await until(lambda: begun(crossing, EffectKind.MERGE), story=road.story)
        await gone(process, KILL)
        assert road.merge_requests[0].state == "opened"
    async with road.process():
        await crossing.merged()


@pytest.mark.cell("F01", "X")
async def test_after_the_merge_and_before_its_answer(crossing: Crossing):
    road = crossing.road
    async with road.process() as process:
        card = await crossing.gate()

        def kill(change: Change) -> None:
            if change.kind == "merge_request" and road.merge_requests[0].state == "merged":
                process.kill()

        over = road.gitlab.state.subscribe(kill)
        assert await crossing.press("sam", card)
        await process.ended()
        over()
        assert (await road.state()).status is RunStatus.DELIVERING
    async with road.process():
        state = await crossing.merged()
        assert [e.found for e in state.done_effects if e.effect is EffectKind.MERGE] == [True]


@pytest.mark.cell("F01", "X")
@pytest.mark.cell("F02", "X")
@BOTH
@pytest.mark.parametrize("ci", [DEPLOYS])
async def test_while_a_deployment_runs(crossing: Crossing, by: signal.Signals):
    road = crossing.road
    crossing.rules(production="")
    road.gitlab.faults.set(fault("job_waits", "job:main:deploy-production", seconds=4))
    async with road.process() as process:
        assert await crossing.press("sam", await crossing.gate())
        assert await crossing.press("lee", await crossing.card("production"))
        await until(lambda: deeds(road, PLAYED), 40, road.story)
        await gone(process, by)
    async with road.process():
        state = await crossing.merged()
        assert len(deeds(road, PLAYED)) == 1
        assert state.reason.endswith("deployed to production.")


@pytest.mark.cell("F02", "GX")
async def test_stopped_again_and_again(crossing: Crossing):
    """Each start gets only a little further."""
    road = crossing.road
    card = None
    for step in ("opened", "pressed", "closed", "intended"):
        async with road.process() as process:
            match step:
                case "opened":
                    card = await crossing.gate()
                case "pressed":
                    slow = road.slack.faults.set(fault("delay", "users.info", seconds=2))
                    assert card is not None
                    assert await crossing.press("sam", card)
                    await until(lambda slow=slow: slow.hits)
                case "closed":
                    await until(lambda: road.events(GateClosed), story=road.story)
                    road.gitlab.faults.set(fault("delay", RIGHTS, times=2, seconds=2))
                case _:
                    await until(lambda: begun(crossing, EffectKind.MERGE), story=road.story)
            await gone(process, TERM)
    async with road.process():
        await crossing.merged()
        assert len(await road.events(GateVoted)) == 1
