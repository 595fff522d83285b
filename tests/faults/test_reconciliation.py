"""What stands at GitLab and what the logs say are compared at each start, and once a night."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import ClientSession
from crossing import Crossing
from road import PROJECT, Road, fault, until

import agent.rounds
from agent.adapters import gitlab_client, postgres_lease
from agent.adapters.postgres_rounds import RoundStore
from agent.events import MismatchFound
from playground import seed
from playground.slack.records import Message

OPEN = "POST /projects/:id/merge_requests"
LIST = "GET /projects/:id/merge_requests"
BRANCHES = "GET /projects/:id/repository/branches"
ROUND = f"reconcile {PROJECT}"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent.rounds, "FRESH", timedelta(0))
    monkeypatch.setattr(agent.rounds, "AGAIN", 0.3)


async def made(road: Road) -> bool:
    return bool(await road.db.pool.fetchval("SELECT 1 FROM leases WHERE name = $1", ROUND))


async def another_day(road: Road) -> None:
    """Nothing is known any more of a round that was made."""
    await road.db.pool.execute("DELETE FROM leases WHERE name = $1", ROUND)


async def look(road: Road) -> list[str]:
    """A start, and the round that it makes; gives what the service asked GitLab meanwhile."""
    await another_day(road)
    before = len(road.gitlab.state.requests)
    async with road.serving():
        await until(lambda: made(road), story=road.story)
    return asked(road)[before:]


def asked(road: Road) -> list[str]:
    return [f"{each.method} {each.path}" for each in road.gitlab.state.requests]


async def gitlab(road: Road, who: str, method: str, path: str, **data: Any) -> None:
    """What somebody does at GitLab itself."""
    account = seed.account(road.gitlab.state, who)
    token = road.gitlab.state.add_token(account, "api").secret
    url = f"{road.gitlab.url}/api/v4/projects/{quote(PROJECT, safe='')}{path}"
    async with (
        ClientSession(headers={"PRIVATE-TOKEN": token}) as session,
        session.request(method, url, json=data) as answer,
    ):
        assert answer.status < 300, await answer.text()


def told(road: Road, message: Message, words: str) -> Sequence[Message]:
    return [each for each in road.said(message) if words in each.text]


async def left(road: Road) -> Message:
    """The request of a run that has pushed its branch, and could not have it shown."""
    refused = road.gitlab.faults.set(fault("fail", OPEN, times=0, status=403))
    async with road.serving():
        request = road.ask()
        await road.result(request)
    assert refused.hits
    road.gitlab.faults.clear()
    assert road.merge_requests == []
    assert await road.git("rev-parse", "agent/1")
    return request


@pytest.mark.without("I3", why="branches that are not ours are there on purpose")
async def test_a_branch_that_was_left_is_told_of_once_and_others_are_left_alone(road: Road):
    request = await left(road)
    for name in ("agent/1-ab", "agent/99", "agent/2/x", "agent/01", "agent/one", "Agent/1"):
        await road.git("branch", name, "main")
    branches = await road.git("for-each-ref")
    ended = (await road.state()).status
    calls = [await look(road) for _ in range(2)]

    (found,) = await road.events(MismatchFound)
    assert found.what == "branch_left"
    assert (await road.state()).status is ended
    async with road.serving():
        await until(lambda: told(road, request, "no merge request shows it"), story=road.story)
    assert len(told(road, request, "no merge request shows it")) == 1
    assert "agent/1" in told(road, request, "no merge request shows it")[0].text
    assert all(call.startswith("GET ") for each in calls for call in each)
    assert await road.git("for-each-ref") == branches


async def test_a_merge_request_that_was_closed_while_it_waits_for_a_gate_closes_that(
    crossing: Crossing,
):
    road = crossing.road
    async with road.serving():
        await crossing.gate()
    await gitlab(road, "sam", "PUT", "/merge_requests/1", state_event="close")
    async with road.serving():
        state = await road.reached(lambda s: s.gate is None)
        closed = state.gates[-1].closed
        assert closed is not None
        assert "closed" in closed.reason


async def test_a_gate_whose_buttons_are_gone_is_posted_again_and_decides(crossing: Crossing):
    road = crossing.road
    async with road.serving():
        card = await crossing.gate()
    road.slack.workspace.delete(card)
    async with road.serving():
        again = await crossing.card()
        assert again.ts != card.ts
        assert await crossing.press("sam", again)
        await crossing.merged()


@pytest.mark.slow
async def test_a_merge_request_that_waits_for_its_turn_is_opened_at_the_start(road: Road):
    down = road.gitlab.faults.set(fault("fail", OPEN, times=0, status=503))
    async with road.serving():
        request = road.ask()
        await until(lambda: down.hits, story=road.story)
    road.gitlab.faults.clear()
    late = """UPDATE engine.pgqueuer SET execute_after = now() + interval '1 day'
              WHERE dedupe_key LIKE 'effects:%'"""
    assert await road.db.pool.execute(late) == "UPDATE 1"

    async with road.serving():
        await road.result(request)
    assert [mr.source_branch for mr in road.merge_requests] == ["agent/1"]


@pytest.mark.slow
async def test_gitlab_that_is_down_while_it_is_compared_is_asked_again(road: Road):
    await left(road)
    await another_day(road)
    down = road.gitlab.faults.set(fault("fail", LIST, times=3, status=503))
    async with road.serving():
        await until(lambda: made(road), story=road.story)
    assert down.hits == 3
    (found,) = await road.events(MismatchFound)
    assert found.what == "branch_left"


@pytest.mark.slow
async def test_a_round_whose_process_was_killed_is_made_by_another_one(road: Road):
    await left(road)
    await another_day(road)
    hangs = road.gitlab.faults.set(fault("hang", BRANCHES))
    async with road.process() as process:
        await until(lambda: hangs.hits, story=road.story)
        process.kill()
        await process.ended()
    road.gitlab.faults.clear()
    assert not await made(road)
    async with road.process():
        await until(lambda: made(road), story=road.story)
    (found,) = await road.events(MismatchFound)
    assert found.what == "branch_left"


@pytest.mark.slow
async def test_of_two_processes_that_start_at_once_one_asks_gitlab(
    road: Road, monkeypatch: pytest.MonkeyPatch
):
    await left(road)
    await another_day(road)
    turns = Counter[str]()
    alone = RoundStore.alone

    @asynccontextmanager
    async def counted(self: RoundStore, name: str) -> AsyncGenerator[object]:
        turns["asked"] += name == ROUND
        async with alone(self, name) as hold:
            yield hold
        turns["over"] += name == ROUND

    monkeypatch.setattr(RoundStore, "alone", counted)
    # whoever is at it is neither given up nor given up on before the other one waits
    monkeypatch.setattr(postgres_lease, "LENGTH", 60.0)
    monkeypatch.setattr(gitlab_client, "SECONDS", 60.0)
    before = len(road.gitlab.state.requests)
    hangs = road.gitlab.faults.set(fault("hang", BRANCHES))
    async with road.serving(), road.serving():
        await until(lambda: hangs.hits and turns["asked"] == 2, story=road.story)
        assert not await made(road)
        road.gitlab.faults.clear()
        await until(lambda: turns["over"] == 2, story=road.story)
        assert await made(road)
    assert len(await road.events(MismatchFound)) == 1
    assert sum("/repository/branches" in call for call in asked(road)[before:]) == 1
