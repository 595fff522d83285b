"""Signed deliveries by HTTP: the same listeners, and nothing for anybody but Slack."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import json
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import ClientSession, web
from face import Face, open_face, settings_for, started
from hypothesis import given
from hypothesis import strategies as st

from agent.adapters.database import Database
from agent.errors import StoreUnavailable
from bot.signature import verified
from bot.web.slack_events import MAX_BODY, add_slack_events
from playground.slack.server import SlackStandIn

SECRET = "playground-signing-secret"  # of the stand-in


def sign(body: bytes, timestamp: str, secret: str = SECRET) -> str:
    base = b"v0:" + timestamp.encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()


@dataclass(kw_only=True)
class Site:
    face: Face
    url: str
    session: ClientSession

    def mention(self, ts: str, text: str = "<@U0JOURNEYMAN> add an export") -> bytes:
        event = {
            "type": "app_mention",
            "user": "U0MIA",
            "text": text,
            "ts": ts,
            "channel": self.face.channel,
        }
        team = self.face.slack.world.team_id
        return json.dumps({"type": "event_callback", "team_id": team, "event": event}).encode()

    async def post(self, body: bytes, headers: dict[str, str] | None = None) -> int:
        if headers is None:
            timestamp = str(int(time.time()))
            headers = {
                "X-Slack-Request-Timestamp": timestamp,
                "X-Slack-Signature": sign(body, timestamp),
            }
        headers = {"Content-Type": "application/json"} | headers
        async with self.session.post(self.url, data=body, headers=headers) as answer:
            return answer.status


@pytest.fixture
async def site(slack: SlackStandIn, db: Database) -> AsyncIterator[Site]:
    settings = settings_for(slack, slack_app_token="", slack_signing_secret=SECRET)
    async with open_face(slack, db, settings=settings) as face, ClientSession() as session:
        app = web.Application(client_max_size=MAX_BODY)
        add_slack_events(SECRET, face.front.door.receive)(app.router)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        yield Site(face=face, url=f"http://127.0.0.1:{port}/slack/events", session=session)
        await runner.cleanup()


async def test_a_signed_mention_starts_a_run(site: Site) -> None:
    root = site.face.slack.people.post("mia", "platform", "@agent add an export")

    assert await site.post(site.mention(root.ts)) == 200

    await site.face.until(lambda: site.face.ours(root))


async def test_a_click_by_http_reaches_the_same_listeners(site: Site) -> None:
    face = site.face
    face.slack.delivery.request_url = site.url
    root, run = await started(face)

    await face.slack.people.click("mia", face.ours(root)[0], "run_menu", f"stop:{run.id}")
    await face.until(lambda: face.slack.world.modals.get("U0MIA"))
    await face.slack.people.submit("mia")

    await face.until(lambda: face.runs.of("stop") == [("stop", run.id, "menu")])


async def test_slack_verifies_the_address(site: Site) -> None:
    body = json.dumps({"type": "url_verification", "challenge": "c", "token": "t"}).encode()
    assert await site.post(body) == 200


@pytest.mark.parametrize(
    "forged",
    [
        {},
        {"X-Slack-Signature": "v0=00"},
        {"X-Slack-Signature": "v0=ü", "X-Slack-Request-Timestamp": "now"},
        {"X-Slack-Signature": "v0=00", "X-Slack-Request-Timestamp": "abc"},
        {"X-Slack-Signature": "v0=00", "X-Slack-Request-Timestamp": "1e9"},
        {"X-Slack-Signature": "v0=00", "X-Slack-Request-Timestamp": "-1"},
        {"X-Slack-Signature": "v0=00", "X-Slack-Request-Timestamp": "9" * 40},
        {"X-Slack-Signature": "", "X-Slack-Request-Timestamp": ""},
    ],
)
async def test_what_is_not_slacks_gets_401_and_changes_nothing(
    site: Site, forged: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="journeyman")
    assert await site.post(site.mention("1.1", "<@U0JOURNEYMAN> hidden"), forged) == 401

    assert await site.face.runs.db.pool.fetchval("SELECT count(*) FROM inbox") == 0
    assert "hidden" not in caplog.text


@pytest.mark.parametrize(("age", "status"), [(299, 200), (301, 401), (-59, 200), (-61, 401)])
async def test_old_and_future_requests_are_refused(site: Site, age: int, status: int) -> None:
    body = site.mention("1.1")
    timestamp = str(int(time.time()) - age)
    headers = {
        "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": sign(body, timestamp),
    }
    assert await site.post(body, headers) == status


async def test_a_body_that_is_too_large_is_not_read(site: Site) -> None:
    async with site.session.post(site.url, data=io.BytesIO(b"x" * (MAX_BODY + 1))) as answer:
        assert answer.status == 401


@given(timestamp=st.text(), signature=st.text(), body=st.binary())
def test_a_signature_is_checked_without_ever_raising(
    timestamp: str, signature: str, body: bytes
) -> None:
    assert not verified(SECRET, body, timestamp=timestamp, signature=signature, now=1e9)


async def test_a_delivery_that_cannot_be_stored_is_not_acknowledged(site: Site) -> None:
    site.face.front.door.deliveries.accept = _down  # type: ignore[method-assign]
    assert await site.post(site.mention("1.1")) == 503


async def test_fifty_a_second_are_acknowledged_within_a_tenth_of_a_second(site: Site) -> None:
    """For two seconds, a fifth of them delivered twice. The median: a test machine is busy."""
    taken: list[float] = []

    async def deliver(number: int) -> None:
        await asyncio.sleep(number / 50)
        body = site.mention(f"1.{number - number % 5 // 4:06d}", "<@U0JOURNEYMAN> !aside")
        began = time.perf_counter()
        assert await site.post(body) == 200
        taken.append(time.perf_counter() - began)

    await asyncio.gather(*(deliver(number) for number in range(100)))

    stored = await site.face.runs.db.pool.fetchval("SELECT count(*) FROM inbox")
    assert stored == 80
    assert statistics.median(taken) < 0.1


async def _down(*_: Any) -> int | None:
    raise StoreUnavailable("PostgreSQL does not answer.")
