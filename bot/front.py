"""The `front` role: Slack on one side, the engine on the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from aiohttp import ClientSession, ClientTimeout
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_sdk.web.async_client import AsyncWebClient

from agent.errors import SettingsError
from agent.linking import LinkStore, SignIn
from agent.maintenance.diary import Diary
from agent.ports import Clock, Store
from bot.build import make_canaries
from bot.cards import places
from bot.inbox import SOURCE, Deliveries, Redelivery
from bot.linking import Linking
from bot.listeners.bolt import Door, make_door
from bot.listeners.controls import Controls
from bot.listeners.desk import Desk
from bot.listeners.gates import GateControls
from bot.listeners.mentions import Mentions
from bot.listeners.nights import NightControls
from bot.listeners.operators import Operators
from bot.listeners.taking_back import Kept, TakingBack
from bot.once import Digested
from bot.people import People
from bot.presenter import Presenter, Threads
from bot.records import record
from bot.runs import Gates, Operating, Runs
from bot.settings import Settings
from bot.slack import Identity, Slack
from bot.slack_api import TIMEOUT, SlackApi, SlackRejected
from bot.standing import ThreadRounds, compared
from bot.views.words import Links

log = logging.getLogger("journeyman.front")


class Inbox(Deliveries, Kept, Protocol): ...


@dataclass(frozen=True, kw_only=True)
class Front:
    identity: Identity
    door: Door
    slack: Slack
    linking: Linking
    presenter: Presenter
    redelivery: Redelivery
    socket: AsyncSocketModeHandler | None  #: None: Slack calls us by HTTP

    async def unreached(self) -> str:
        """Why nothing comes from Slack or goes there, in a sentence; empty when all does."""
        if self.socket is None:
            await self.slack.identity()
            return ""
        if await self.socket.client.is_connected():
            return ""
        return "The connection to Slack is down; it is being made again."

    async def serve(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.presenter.serve(), name="presenter")
            group.create_task(self.redelivery.serve(), name="redelivery")


@asynccontextmanager
async def open_front(
    settings: Settings,
    *,
    store: Store,
    deliveries: Inbox,
    threads: Threads,
    accounts: LinkStore,
    sign_in: SignIn,
    runs: Runs,
    operating: Operating,
    clock: Clock,
    gates: Gates,
    diary: Diary,
    book: Digested,
    again: Mapping[str, Callable[[int, Mapping[str, Any]], Awaitable[None]]],
    rounds: ThreadRounds | None = None,
) -> AsyncGenerator[Front]:
    """Connected to Slack. Raises `SettingsError` when Slack refuses a token. `again`: for what
    other sources delivered and nobody finished, by source."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(
            ClientSession(timeout=ClientTimeout(total=TIMEOUT))
        )
        client = AsyncWebClient(
            token=settings.slack_bot_token,
            base_url=settings.slack_api_url,
            session=session,
            timeout=TIMEOUT,
            retry_handlers=[],  # ours know which calls may be repeated
        )
        slack = Slack(api=SlackApi(client=client), canaries=make_canaries(settings))
        identity = await slack.identity()
        links = Links(public_url=settings.public_url)
        people = People(slack=slack, identity=identity, links=accounts)
        linking = Linking(
            slack=slack,
            people=people,
            links=accounts,
            sign_in=sign_in,
            public_url=settings.public_url,
        )
        nights = NightControls(
            settings=settings,
            slack=slack,
            people=people,
            runs=runs,
            diary=diary,
            book=book,
            clock=clock,
        )
        mentions = Mentions(
            settings=settings,
            identity=identity,
            slack=slack,
            people=people,
            linking=linking,
            runs=runs,
            operators=Operators(slack=slack, people=people, operating=operating, links=links),
            store=store,
            links=links,
            nights=nights,
            cards=places(store, threads),
            taking_back=TakingBack(kept=deliveries, identity=identity, slack=slack),
        )
        controls = Controls(
            slack=slack, people=people, linking=linking, runs=runs, mentions=mentions
        )
        pressed = GateControls(slack=slack, people=people, gates=gates)
        desk = Desk(deliveries=deliveries, slack=slack, linking=linking)
        stack.push_async_callback(desk.close)
        door = make_door(client, identity, deliveries, desk, mentions, controls, pressed, nights)
        socket = None
        if settings.slack_app_token:
            socket = await _connect(stack, door, settings.slack_app_token)
        yield Front(
            identity=identity,
            door=door,
            slack=slack,
            linking=linking,
            socket=socket,
            presenter=Presenter(
                store=store,
                threads=threads,
                slack=slack,
                clock=clock,
                links=links,
                round=partial(compared, rounds=rounds) if rounds else None,
            ),
            redelivery=Redelivery(
                deliveries=deliveries,
                dispatch={SOURCE: door.again, **again},
                give_up={SOURCE: lambda delivery, body: desk.give_up(delivery, record(body))},
            ),
        )


async def _connect(stack: AsyncExitStack, door: Door, app_token: str) -> AsyncSocketModeHandler:
    handler = AsyncSocketModeHandler(door.app, app_token)
    stack.push_async_callback(handler.close_async)
    client = door.app.client
    api = AsyncWebClient(
        token=app_token,
        base_url=client.base_url,
        session=client.session,
        timeout=TIMEOUT,
        retry_handlers=[],
    )
    try:
        # asked for here, since `connect_async` would try a refused token for ever
        answer = await SlackApi(client=api).patiently("apps.connections.open", {})
    except SlackRejected as error:
        raise SettingsError(
            "SLACK_APP_TOKEN is refused by Slack: copy the app-level token, with the scope "
            "connections:write, again."
        ) from error
    handler.client.wss_uri = answer["url"]
    await handler.connect_async()
    return handler
