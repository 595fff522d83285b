"""Clicks at gates that are refused before the gate itself is looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from agent.errors import JourneymanError, Refused
from agent.gate import Deed, GateId
from agent.run import Person
from bot.listeners.gates import GateControls
from bot.slack_api import SlackRejected, SlackUnavailable

BODY = {
    "user": {"id": "U1", "username": "mia", "team_id": "T"},
    "team": {"id": "T"},
    "channel": {"id": "C"},
    "message": {"ts": "1.1"},
    "container": {"message_ts": "1.1", "channel_id": "C"},
    "actions": [{"value": "ab" * 16}],
}


@dataclass(kw_only=True)
class Log:
    kept: list[tuple[str, str, Deed, str]] = field(default_factory=list[tuple[str, str, Deed, str]])

    async def refused(
        self, gate: GateId, by: Person, deed: Deed, check: str, reason: str, *, message: str = ""
    ) -> None:
        self.kept.append((gate, by.id, deed, check))


@pytest.mark.parametrize(
    "trouble",
    [
        Refused("Guests can't."),
        SlackUnavailable("Slack does not answer at the moment."),
        SlackRejected("users.info", "user_not_found"),
    ],
    ids=["refused", "unavailable", "rejected"],
)
async def test_a_click_is_on_record_whatever_is_wrong_with_who_pressed(trouble: JourneymanError):
    class Nobody:
        async def person(self, user: str) -> Person:
            raise trouble

    log = Log()
    controls = GateControls(
        slack=cast("Any", None), people=cast("Any", Nobody()), gates=cast("Any", log)
    )
    with pytest.raises(JourneymanError):
        await controls.on_approve(BODY)
    assert log.kept == [("ab" * 16, "U1", "approve", "person")]
