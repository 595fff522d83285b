from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft7Validator
from slack_schema import SPECS, needs_specs

from playground.slack.world import World

MANIFEST = Path(__file__).parents[2] / "slack-manifest.json"


@needs_specs
def test_the_manifest_is_one_that_slack_takes() -> None:
    schema = json.loads((SPECS / "manifest.schema.2.0.0.json").read_text())
    manifest = json.loads(MANIFEST.read_text())

    assert [each.message for each in Draft7Validator(schema).iter_errors(manifest)] == []
    assert len(manifest["features"]["agent_view"]["suggested_prompts"]) <= 4


@pytest.mark.parametrize("event", ["app_mention", "message.channels", "agent_session_stopped"])
def test_the_stand_in_installs_the_app_as_the_manifest_says(world: World, event: str) -> None:
    assert event in world.app.events
    assert world.app.is_agent
    assert world.app.socket_mode
    assert world.tokens["xoxb-playground"].scopes == world.app.scopes
