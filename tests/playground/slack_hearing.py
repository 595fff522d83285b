"""An app that keeps what it hears, on Socket Mode or behind a request URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.web.async_client import AsyncWebClient

from playground.slack.server import SlackStandIn

Json = dict[str, Any]


@dataclass(kw_only=True)
class Bot:
    """An app that keeps what it hears."""

    app: AsyncApp
    events: list[Json] = field(default_factory=list[Json])
    headers: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def listen(self) -> None:
        async def heard(body: Json, req: AsyncBoltRequest) -> None:
            self.events.append(body)
            self.headers.append(dict(req.headers))

        for kind in ("app_mention", "message", "agent_session_stopped", "app_home_opened"):
            self.app.event(kind)(heard)

    def heard(self, *keys: str) -> list[Any]:
        return [tuple(each["event"].get(key) for key in keys) for each in self.events]


@asynccontextmanager
async def connection(bot: Bot, slack: SlackStandIn) -> AsyncIterator[AsyncSocketModeHandler]:
    """The app on Socket Mode."""
    handler = AsyncSocketModeHandler(
        bot.app, "xapp-playground", web_client=bot.app.client, ping_interval=0.2
    )
    await handler.connect_async()
    await slack.sockets.connected()
    yield handler
    await handler.close_async()


async def serve(answer: Any) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_post("/slack/events", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    await runner.cleanup()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - the SDK tells nobody what it does
            await asyncio.sleep(0.01)


async def settle(slack: SlackStandIn, bot: Bot, events: int) -> None:
    """Until every delivery has its end and its listener has run."""
    await slack.delivery.settled()
    await until(lambda: len(bot.events) >= events)


async def link(slack: SlackStandIn) -> str:
    app = AsyncWebClient(token="xapp-playground", base_url=slack.api_url)
    opened = await app.apps_connections_open(app_token="xapp-playground")
    return str(opened["url"])
