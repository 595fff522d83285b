from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from slack_schema import SPECS, problems_of
from slack_sdk.web.async_client import AsyncWebClient

from playground.slack.server import SlackStandIn
from playground.slack.world import World, new_world

MANIFEST = Path(__file__).parents[2] / "slack-manifest.json"


@pytest.fixture
def world() -> World:
    return new_world(json.loads(MANIFEST.read_text()))


@pytest.fixture
async def slack(world: World) -> AsyncIterator[SlackStandIn]:
    """The stand-in; after the test, all that was said is held against Slack's descriptions."""
    async with SlackStandIn(world, speed=1000) as running:
        yield running
        if SPECS.is_dir():
            problems = problems_of(running)
            assert not problems, "\n".join(problems)


@pytest.fixture
def client(slack: SlackStandIn) -> AsyncWebClient:
    return AsyncWebClient(token="xoxb-playground", base_url=slack.api_url)
