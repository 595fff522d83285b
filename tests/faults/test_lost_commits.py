"""PostgreSQL has stored it, and whoever stored it never hears so: wherever that happens on the way
of a change, it counts once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from crossing import Crossing
from wire import Wire

from agent.events import (
    CheckpointTaken,
    Committed,
    DeliveryBegun,
    EffectDone,
    EffectIntended,
    GateClosed,
    GateOpened,
    ModelAnswered,
    ModelAsked,
    Payload,
    PipelineSeen,
    RunAccepted,
    RunClaimed,
    RunEnded,
    TestsRan,
    ToolReturned,
    WorkspaceReady,
    kind_of,
)
from agent.run import RunStatus

FACTS = (
    *(RunAccepted, RunClaimed, WorkspaceReady, ModelAsked, ModelAnswered, ToolReturned),
    *(CheckpointTaken, TestsRan, Committed, EffectIntended, EffectDone, PipelineSeen),
    *(DeliveryBegun, GateOpened, GateClosed, RunEnded),
)
ONCE = (RunAccepted, WorkspaceReady, Committed, DeliveryBegun, GateOpened, GateClosed, RunEnded)
PROJECT = b"demo/calc"


@pytest.fixture
async def wire(crossing: Crossing) -> AsyncIterator[Wire]:
    async with Wire(crossing.road.env["DATABASE_URL"]) as opened:
        yield opened


def stored(fact: type[Payload]) -> bytes:
    """Its kind as an element of an array, which only a fact that is stored is sent as."""
    kind = kind_of(fact).encode()
    return len(kind).to_bytes(4, "big") + kind


async def merged(crossing: Crossing, wire: Wire, times: int = 1) -> None:
    async with crossing.road.serving(DATABASE_URL=wire.url):
        card = await crossing.gate()
        assert await crossing.press("sam", card)
        await crossing.merged()
        await crossing.road.reached(lambda state: state.status is RunStatus.SUCCEEDED)
    assert wire.lost == times
    assert len(await crossing.road.runs()) == 1
    for kind in ONCE:
        assert len(await crossing.road.events(kind)) == 1, kind
    asked, answered = [await crossing.road.events(kind) for kind in (ModelAsked, ModelAnswered)]
    assert [each.call for each in answered] == [each.call for each in asked]


@pytest.mark.cell("F05", "A")
async def test_a_request_that_was_stored_is_taken_once(crossing: Crossing, wire: Wire) -> None:
    wire.lose_sent = b"turn it around"
    await merged(crossing, wire)


@pytest.mark.parametrize("fact", FACTS, ids=kind_of)
async def test_a_fact_that_was_stored_counts_once(
    crossing: Crossing, wire: Wire, fact: type[Payload]
) -> None:
    wire.lose = stored(fact)
    await merged(crossing, wire)


@pytest.mark.parametrize("fact", [ModelAnswered, Committed, GateClosed], ids=kind_of)
async def test_who_looks_whether_it_was_stored_may_be_cut_off_again(
    crossing: Crossing, wire: Wire, fact: type[Payload]
) -> None:
    wire.lose = stored(fact)
    wire.lose_sent = b"SELECT hash FROM events"
    await merged(crossing, wire, times=2)


@pytest.mark.parametrize("kind", ["run", "effects", "watch"])
async def test_a_job_that_was_taken_is_taken_again(
    crossing: Crossing, wire: Wire, kind: str
) -> None:
    """By another one, once nobody keeps it alive."""
    wire.lose_answer = f"{kind}.".encode() + PROJECT
    await merged(crossing, wire)
