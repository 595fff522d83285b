"""Signed deliveries from Slack by HTTP: verified, stored in PostgreSQL, acknowledged."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web

from agent.adapters.database import Database, open_database
from agent.adapters.system_clock import SystemClock
from agent.gatekeeper import Gatekeeper
from agent.linking import Account
from agent.operators import OperatorService
from agent.run import Limits, Request, Run
from agent.testing import FakeForge
from benchmarks.scratch import scratch
from benchmarks.table import Row, Table
from bot.build import make_sign_in
from bot.cards import places
from bot.front import open_front
from bot.settings import ProjectEntry, Settings
from bot.web.slack_events import MAX_BODY, add_slack_events
from playground.slack.server import SlackStandIn
from playground.slack.world import new_world

MANIFEST = Path(__file__).parent.parent / "slack-manifest.json"
SECRET = "0123456789abcdef0123456789abcdef"
RATE = 50
SECONDS = 10


def slack() -> list[Table]:
    with scratch() as folder:
        took, stored = asyncio.run(_measure(folder / "home"))
    took = sorted(1000 * each for each in took)
    return [
        Table(
            title=f"{RATE} signed Slack events a second for {SECONDS} s, over HTTP",
            rows=[
                Row(
                    what="verified, stored and acknowledged, p99",
                    value=took[int(len(took) * 0.99) - 1],
                    unit="ms",
                    limit=100,
                    baseline="Slack waits 3,000 ms",
                    note=f"p50 {took[len(took) // 2]:.1f}, worst {took[-1]:.1f}; "
                    f"{stored} of {len(took)} stored; each starts a run in the store meanwhile",
                )
            ],
        )
    ]


class _Runs:
    """Of the service, what a first mention asks: makes the run."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def start(self, request: Request) -> Run:
        thread = request.thread
        key = f"{thread.team}:{thread.channel}:{request.message}"
        run, _ = await self._database.store.create(key, request, Limits())
        return run


async def _measure(home: Path) -> tuple[list[float], int]:
    async with (
        SlackStandIn(new_world(json.loads(MANIFEST.read_text()))) as stand_in,
        open_database(home=home) as database,
    ):
        stand_in.limits.enabled = False
        channel = stand_in.world.channel_named("platform").id
        settings = Settings(
            slack_bot_token="xoxb-playground",
            slack_signing_secret=SECRET,
            slack_api_url=stand_in.api_url,
            public_url="http://localhost",
            projects={"platform/api": ProjectEntry(path="platform/api", channels=(channel,))},
        )
        await database.people.link(stand_in.world.team_id, "U0MIA", Account(id=2, username="mia"))
        async with open_front(
            settings,
            store=database.store,
            deliveries=database.inbox,
            threads=database.threads,
            accounts=database.people,
            sign_in=make_sign_in(settings),
            runs=_Runs(database),  # type: ignore[arg-type]
            gates=Gatekeeper(
                store=database.store,
                forge=FakeForge(clone_url=""),
                projects=lambda path: None,
                clock=SystemClock(),
                cards=places(database.store, database.threads),
            ),
            diary=database.nights,
            book=database.digests,
            again={},
            operating=OperatorService(
                store=database.store,
                forge=FakeForge(clone_url=""),
                projects=lambda path: None,
                operators=(),
            ),
            clock=SystemClock(),
        ) as front:
            app = web.Application(client_max_size=MAX_BODY)
            add_slack_events(SECRET, front.door.receive)(app.router)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
            bodies = [_event(stand_in, channel, n) for n in range(RATE * SECONDS + RATE)]
            async with ClientSession() as session:
                await _send(session, url, bodies[:RATE])  # warms the connections up
                took = await _send(session, url, bodies[RATE:])
            stored = await database.pool.fetchval("SELECT count(*) FROM inbox")
            await runner.cleanup()
    return took, stored - RATE


def _event(stand_in: SlackStandIn, channel: str, number: int) -> bytes:
    us = stand_in.world.app.bot_user
    root = stand_in.people.post("mia", "platform", f"export number {number}")
    event: dict[str, Any] = {
        "type": "app_mention",
        "user": "U0MIA",
        "text": f"<@{us}> add export {number}",
        "ts": root.ts,
        "channel": channel,
    }
    team = stand_in.world.team_id
    return json.dumps({"type": "event_callback", "team_id": team, "event": event}).encode()


async def _send(session: ClientSession, url: str, bodies: Sequence[bytes]) -> list[float]:
    """At the rate, whether or not the earlier ones are answered."""
    loop = asyncio.get_running_loop()
    begun = loop.time()

    async def one(number: int, body: bytes) -> float:
        await asyncio.sleep(begun + number / RATE - loop.time())
        due = begun + number / RATE
        stamp = str(int(time.time()))
        signed = hmac.new(SECRET.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256)
        headers = {
            "Content-Type": "application/json",
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": f"v0={signed.hexdigest()}",
        }
        async with session.post(url, data=body, headers=headers) as answer:
            await answer.read()
            if answer.status != 200:
                raise SystemExit(f"An event was answered with {answer.status}.")
        return loop.time() - due

    return list(await asyncio.gather(*(one(n, body) for n, body in enumerate(bodies))))
