"""What each role says of what it lacks, on the whole road."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession
from road import Road, fault, until
from test_model_faults import CALL

import bot.roles.health
from bot.app import open_service
from bot.settings import load


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot.roles.health, "_OUTSIDE", 0.2)


class Role:
    def __init__(self, url: str) -> None:
        self._url = url

    async def ready(self) -> tuple[int, dict[str, str]]:
        """Status, and sentences by name."""
        async with ClientSession() as http, http.get(f"{self._url}/readyz") as answer:
            told: dict[str, Any] = await answer.json()
            return answer.status, {each["name"]: each["told"] for each in told.get("missing", [])}

    async def lacks(self, *names: str) -> dict[str, str]:
        async def so() -> bool:
            status, missing = await self.ready()
            return set(missing) == set(names) and (status == 503) is bool(names)

        await until(so)
        return (await self.ready())[1]


@asynccontextmanager
async def serving(road: Road, *roles: str, **env: str) -> AsyncGenerator[Role]:
    async with open_service(load(road.env | env), roles) as service:
        role = Role(f"http://127.0.0.1:{service.port}")
        await role.lacks()
        yield role


@pytest.mark.parametrize(
    ("role", "name"),
    [("front", "gitlab"), ("worker", "gitlab"), ("effects", "gitlab for changes")],
)
async def test_each_role_tells_that_gitlab_is_away_and_that_it_is_back(
    road: Road, role: str, name: str
):
    async with serving(road, role) as health:
        road.gitlab.faults.set(fault("fail", "GET /user", times=0, status=502))
        told = await health.lacks(name)
        assert "GitLab" in told[name]
        road.gitlab.faults.clear()
        await health.lacks()


async def test_the_front_tells_that_slack_is_not_connected(road: Road):
    async with serving(road, "front") as health:
        road.slack.faults.set(fault("fail", "apps.connections.open", times=0, status=503))
        await road.slack.sockets.cut()
        told = await health.lacks("slack")
        assert told["slack"] == "The connection to Slack is down; it is being made again."
        road.slack.faults.clear()
        await health.lacks()


async def test_a_worker_tells_that_the_model_does_not_answer(road: Road):
    async with serving(road, "front", "worker") as health:
        down = road.model.faults.set(fault("fail", CALL, times=0, status=401))
        road.ask()
        await until(lambda: down.hits, story=road.story)
        told = await health.lacks("model")
        assert "OPENAI_API_KEY" in told["model"]


async def test_a_second_process_on_one_address_serves_without_health_pages(road: Road):
    async with serving(road, "front") as health:
        _, _, port = health._url.rpartition(":")
        env = road.env | {"JOURNEYMAN_LISTEN": f"127.0.0.1:{port}"}
        async with open_service(load(env), ("effects",)) as service:
            assert service.port is None
            assert "no health pages, since JOURNEYMAN_LISTEN is" in service.told
