from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from face import Face, open_face
from slack_schema import SPECS, problems_of

from agent.adapters.database import Database
from playground.slack.server import SlackStandIn
from playground.slack.world import new_world

MANIFEST = Path(__file__).parents[2] / "slack-manifest.json"


@pytest.fixture
async def slack() -> AsyncIterator[SlackStandIn]:
    """A workspace; in the end all that was said in it is held against Slack's descriptions."""
    async with SlackStandIn(new_world(json.loads(MANIFEST.read_text())), speed=1000) as running:
        running.limits.enabled = False
        yield running
        if SPECS.is_dir():
            assert problems_of(running) == []


@pytest.fixture
async def face(slack: SlackStandIn, db: Database) -> AsyncIterator[Face]:
    async with open_face(slack, db) as opened:
        yield opened
