"""Connecting to Slack, and what is said when it refuses."""

from __future__ import annotations

import logging

import pytest
from face import Face, open_face, settings_for, started

from agent.adapters.database import Database
from agent.errors import SettingsError
from playground.slack.server import SlackStandIn


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"slack_bot_token": "xoxb-wrong"}, "SLACK_BOT_TOKEN is refused by Slack"),
        ({"slack_app_token": "xapp-wrong"}, "SLACK_APP_TOKEN is refused by Slack"),
    ],
)
async def test_a_token_that_slack_refuses_is_told_at_the_start(
    slack: SlackStandIn, db: Database, wrong: dict[str, str], told: str
) -> None:
    with pytest.raises(SettingsError, match=told):
        async with open_face(slack, db, settings=settings_for(slack, **wrong)):
            pass


async def test_nothing_asks_slack_who_we_are_while_a_delivery_waits(
    slack: SlackStandIn, db: Database
) -> None:
    async with open_face(slack, db) as face:
        face.say("@agent help")
        await face.until(face.told)

    assert len(slack.calls_of("auth.test")) == 1


async def test_slacks_library_does_not_silence_our_own_log(
    face: Face, caplog: pytest.LogCaptureFixture
) -> None:
    await started(face)

    logging.getLogger("journeyman.anything").warning("something_waits")

    assert "something_waits" in caplog.text
