"""A small app for the tests of clicks: a card, a modal and a search."""

from __future__ import annotations

from typing import Any

from slack_bolt.app.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

Json = dict[str, Any]


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def option(value: str) -> Json:
    return {"text": plain(value.title()), "value": value}


CARD: list[Json] = [
    {
        "type": "section",
        "block_id": "head",
        "text": {"type": "mrkdwn", "text": "*Run 42*"},
        "accessory": {
            "type": "overflow",
            "action_id": "menu",
            "options": [option("timeline"), option("stop")],
        },
    },
    {
        "type": "actions",
        "block_id": "act",
        "elements": [
            {"type": "button", "action_id": "approve", "value": "g7", "text": plain("Approve")},
            {"type": "button", "action_id": "reject", "value": "g7", "text": plain("Reject…")},
            {"type": "static_select", "action_id": "pick", "options": [option("a"), option("b")]},
            {"type": "external_select", "action_id": "find", "min_query_length": 1},
        ],
    },
    {
        "type": "context_actions",
        "block_id": "thanks",
        "elements": [
            {
                "type": "feedback_buttons",
                "action_id": "feedback",
                "positive_button": {"text": plain("Good"), "value": "good"},
                "negative_button": {"text": plain("Bad"), "value": "bad"},
            }
        ],
    },
]
MODAL: Json = {
    "type": "modal",
    "callback_id": "reject",
    "private_metadata": "g7",
    "title": plain("Reject"),
    "submit": plain("Reject"),
    "notify_on_close": True,
    "blocks": [
        {
            "type": "input",
            "block_id": "reason",
            "label": plain("What has to change?"),
            "element": {"type": "plain_text_input", "action_id": "text", "min_length": 10},
        },
        {
            "type": "input",
            "block_id": "next",
            "label": plain("Then"),
            "element": {
                "type": "radio_buttons",
                "action_id": "choice",
                "initial_option": option("revise"),
                "options": [option("revise"), option("stop")],
            },
        },
    ],
}
REASON = "The tests do not cover drafts."


class Bot:
    """An app with a card, a modal and a search, which keeps what it is told."""

    def __init__(self, client: AsyncWebClient) -> None:
        self.app = AsyncApp(client=client, signing_secret="unused")
        self.bodies: list[Json] = []
        self.view_answer: Json = {}
        for action in ("approve", "menu", "pick", "find", "feedback"):
            self.app.action(action)(self._keep)
        self.app.action("reject")(self._open)
        self.app.view("reject")(self._submitted)
        self.app.view_closed("reject")(self._keep)
        self.app.options("find")(self._search)
        self.app.event("message")(self._ignore)

    async def _ignore(self, body: Json) -> None: ...

    async def _keep(self, ack: Any, body: Json) -> None:
        await ack()
        self.bodies.append(body)

    async def _open(self, ack: Any, body: Json, client: AsyncWebClient) -> None:
        await client.views_open(trigger_id=body["trigger_id"], view=MODAL)
        await self._keep(ack, body)

    async def _submitted(self, ack: Any, body: Json) -> None:
        await ack(**self.view_answer)
        self.bodies.append(body)

    async def _search(self, ack: Any, body: Json) -> None:
        await ack(options=[option(f"{body['value']}/api")])
        self.bodies.append(body)
