"""Forged, repeated and misdirected clicks, over signed HTTP: one decision, or none."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlencode

import pytest
from aiohttp import ClientSession, web
from face import Face, open_face, settings_for, started
from test_slack_http import SECRET, sign

from agent.adapters.database import Database
from agent.errors import Refused
from agent.gate import Click, Deed, GateId
from agent.run import Person, Run, RunId, Thread
from bot.web.slack_events import MAX_BODY, add_slack_events
from playground.slack.server import SlackStandIn

GATE = "ab" * 16


@dataclass(kw_only=True)
class Decisions:
    """What would reach the engine."""

    clicks: list[Click] = field(default_factory=list[Click])
    begun: list[tuple[RunId, Thread | None]] = field(
        default_factory=list[tuple[RunId, Thread | None]]
    )
    refusals: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    async def decide(self, click: Click) -> Run:
        self.clicks.append(click)
        raise Refused("Heard.")

    async def refused(
        self, gate: GateId, by: Person, deed: Deed, check: str, reason: str, *, message: str = ""
    ) -> None:
        self.refusals.append((by.id, check))

    async def begin(
        self,
        run: RunId,
        kind: Literal["promotion", "revert"],
        by: Person,
        *,
        thread: Thread | None = None,
        message: str = "",
    ) -> Run:
        self.begun.append((run, thread))
        raise Refused("Heard.")

    async def ask_again(
        self, run: RunId, by: Person, *, thread: Thread | None = None, message: str = ""
    ) -> Run:
        self.begun.append((run, thread))
        raise Refused("Heard.")


@dataclass(kw_only=True)
class Site:
    face: Face
    url: str
    session: ClientSession
    heard: Decisions

    def click(self, action: str = "gate_approve", value: str = GATE, **more: Any) -> bytes:
        payload = {
            "type": "block_actions",
            "team": {"id": self.face.slack.world.team_id},
            "user": {"id": "U0SAM", "username": "sam"},
            "channel": {"id": self.face.channel},
            "message": {"ts": "2.2", "thread_ts": "1.1"},
            "container": {"message_ts": "2.2", "channel_id": self.face.channel},
            "trigger_id": "1.1.1",
            "actions": [
                {
                    "type": "button",
                    "action_id": action,
                    "block_id": "act",
                    "value": value,
                    "action_ts": "3.3",
                }
            ],
        }
        return urlencode({"payload": json.dumps(payload | more)}).encode()

    async def post(
        self, body: bytes, headers: dict[str, str] | None = None, form: bool = True
    ) -> int:
        headers = self.signed(body) if headers is None else headers
        kind = "application/x-www-form-urlencoded" if form else "application/json"
        headers = {"Content-Type": kind} | headers
        async with self.session.post(self.url, data=body, headers=headers) as answer:
            return answer.status

    def signed(self, body: bytes, age: int = 0) -> dict[str, str]:
        moment = str(int(time.time()) - age)
        return {
            "X-Slack-Request-Timestamp": moment,
            "X-Slack-Signature": sign(body, moment),
        }

    async def quiet(self) -> None:
        """Until each delivery that was accepted has been worked on."""
        for _ in range(400):
            rows = "SELECT count(*) FROM inbox WHERE handled_at IS NULL"
            if await self.face.runs.db.pool.fetchval(rows) == 0:
                return
            await asyncio.sleep(0.02)
        raise AssertionError("a delivery is left")


@pytest.fixture
async def site(slack: SlackStandIn, db: Database) -> AsyncIterator[Site]:
    settings = settings_for(slack, slack_app_token="", slack_signing_secret=SECRET)
    heard = Decisions()
    async with open_face(slack, db, settings=settings, gates=heard) as face:
        app = web.Application(client_max_size=MAX_BODY)
        add_slack_events(SECRET, face.front.door.receive)(app.router)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
        async with ClientSession() as session:
            yield Site(face=face, url=url, session=session, heard=heard)
        await runner.cleanup()


async def test_a_signed_click_says_who_wants_what_and_where(site: Site):
    assert await site.post(site.click()) == 200
    await site.quiet()
    [click] = site.heard.clicks
    assert (click.gate, click.deed, click.by.id, click.place.message) == (
        GATE,
        "approve",
        "U0SAM",
        "2.2",
    )


async def test_forged_old_and_altered_clicks_get_401_and_reach_nobody(site: Site):
    body = site.click()
    good = site.signed(body)
    forged: list[tuple[bytes, dict[str, str]]] = [
        (body, {}),
        (body, good | {"X-Slack-Signature": "v0=" + "0" * 64}),
        (body, good | {"X-Slack-Signature": "v0=ü"}),
        (body, good | {"X-Slack-Request-Timestamp": "abc"}),
        (body, {"X-Slack-Signature": good["X-Slack-Signature"]}),
        (body, site.signed(body, age=301)),
        (body, site.signed(body, age=-61)),
        (body.replace(b"U0SAM", b"U0MIA"), good),
        (body.replace(b"gate_approve", b"gate_reject"), good),
        (body.replace(GATE.encode(), b"cd" * 16), good),
        (body + b"&payload=%7B%7D", good),
    ]
    assert [await site.post(*each) for each in forged] == [401] * len(forged)
    assert site.heard == Decisions()
    assert await site.face.runs.db.pool.fetchval("SELECT count(*) FROM inbox") == 0


async def test_fifty_times_the_same_click_at_once_is_one_click(site: Site):
    body = site.click()
    headers = site.signed(body)
    again = headers | {"X-Slack-Retry-Num": "1", "X-Slack-Retry-Reason": "http_timeout"}
    posts = (site.post(body, again if number % 2 else headers) for number in range(50))
    assert set(await asyncio.gather(*posts)) == {200}
    await site.quiet()
    assert len(site.heard.clicks) == 1


async def test_a_click_of_another_workspace_is_nobodys(site: Site):
    assert await site.post(site.click(team={"id": "T0OTHER"})) == 200
    assert site.heard == Decisions()


async def test_a_swapped_action_never_approves(site: Site):
    """A reject button with an approver's gate asks for a reason; nothing else is made of it."""
    assert await site.post(site.click("gate_reject")) == 200
    await site.quiet()
    submitted = {
        "type": "view_submission",
        "view": {
            "id": "V1",
            "type": "modal",
            "callback_id": "gate_rejected",
            "private_metadata": f"{GATE} {site.face.channel} 1.1 2.2",
            "state": {
                "values": {
                    "text": {"text": {"value": "approve approve approve"}},
                    "then": {"then": {"selected_option": {"value": "approve"}}},
                }
            },
        },
    }
    assert await site.post(site.click(**submitted)) == 200
    await site.quiet()
    assert [(c.deed, c.revise) for c in site.heard.clicks] == [("reject", False)]


@pytest.mark.parametrize("action", ["gate_approved", "approve", "gate_approve ", "GATE_APPROVE"])
async def test_an_action_that_we_do_not_know_decides_nothing(site: Site, action: str):
    assert await site.post(site.click(action)) < 500
    assert site.heard.clicks == []


@pytest.mark.parametrize("value", ["", "' OR 1=1 --", "\u202e" + "a" * 2000, "7"])
async def test_a_forged_value_is_only_ever_a_gates_id(site: Site, value: str):
    assert await site.post(site.click(value=value)) == 200
    await site.quiet()
    assert [c.gate for c in site.heard.clicks] == [value]


async def test_whoever_promotes_reverts_or_asks_again_says_in_which_thread(site: Site):
    for action in ("deliver_promote", "deliver_revert", "gate_again"):
        assert await site.post(site.click(action, "42")) == 200
    await site.quiet()
    world = site.face.slack.world
    here = Thread(team=world.team_id, channel=site.face.channel, ts="1.1")
    assert site.heard.begun == [(42, here)] * 3


async def test_neither_words_nor_reactions_reach_a_gate(site: Site):
    site.face.slack.delivery.request_url = site.url
    root, _ = await started(site.face)
    card = site.face.ours(root)[0]
    team = site.face.slack.world.team_id
    for emoji in ("white_check_mark", "+1", "heavy_check_mark"):
        event = {
            "type": "reaction_added",
            "user": "U0SAM",
            "reaction": emoji,
            "item": {"type": "message", "channel": card.channel, "ts": card.ts},
            "event_ts": f"5.{emoji}",
        }
        body = json.dumps({"type": "event_callback", "team_id": team, "event": event}).encode()
        assert await site.post(body, form=False) < 500
    for text in ("approve", "LGTM", "approved :white_check_mark:"):
        site.face.say(text, user="sam", thread=root.ts)
        site.face.say(f"<@U0JOURNEYMAN> {text}", user="sam", thread=root.ts)
    await site.quiet()
    assert site.heard == Decisions()
