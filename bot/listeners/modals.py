"""Opening a modal: Slack gives three seconds after the press, and one try."""

from __future__ import annotations

from agent.errors import Refused
from bot.records import Json
from bot.slack import Slack
from bot.slack_api import SlackRejected


async def open_modal(slack: Slack, body: Json, view: Json) -> None:
    try:
        await slack.open_modal(body["trigger_id"], view)
    except SlackRejected as error:
        if error.code in {"expired_trigger_id", "exchanged_trigger_id"}:
            raise Refused("That took me too long to open. Please press it again.") from error
        raise
