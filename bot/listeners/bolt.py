"""Binds the listeners to slack-bolt: the same ones for Socket Mode and for signed HTTP."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from agent import failpoints
from agent.errors import StoreUnavailable
from bot.inbox import SOURCE, Deliveries, key_of
from bot.listeners.controls import Controls
from bot.listeners.desk import Desk, Work, effect_of
from bot.listeners.gates import GateControls
from bot.listeners.mentions import Mentions
from bot.listeners.nights import NightControls
from bot.records import Json
from bot.slack import Identity
from bot.views.digest import FIX, MENU
from bot.views.reject import CALLBACK

log = logging.getLogger("journeyman.slack")

Ack = Callable[[], Awaitable[Any]]
_DELIVERY = "journeyman_delivery"
_AGAIN = "journeyman_again"
MOMENT = 3.0  #: seconds that those behind a delivery wait for the end of it


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where deliveries come in."""

    app: AsyncApp
    deliveries: Deliveries

    async def receive(
        self, body: str, headers: Mapping[str, Sequence[str]]
    ) -> tuple[int, Mapping[str, Sequence[str]], str]:
        """A request by HTTP whose signature has been verified."""
        request = AsyncBoltRequest(body=body, headers=cast("Any", dict(headers)))
        response = await self.app.async_dispatch(request)
        return response.status, response.headers, response.body or ""

    async def again(self, delivery: int, payload: Mapping[str, Any]) -> None:
        """A stored delivery that was never finished. What takes longer than a moment goes on by
        itself."""
        done = asyncio.Event()
        request = AsyncBoltRequest(
            body=dict(payload), mode="socket_mode", context={_DELIVERY: delivery, _AGAIN: done}
        )
        answer = await self.app.async_dispatch(request)
        if answer.status == 200:  # some listener has it
            with suppress(TimeoutError):
                async with asyncio.timeout(MOMENT):
                    await done.wait()


def make_door(
    client: AsyncWebClient,
    identity: Identity,
    deliveries: Deliveries,
    desk: Desk,
    mentions: Mentions,
    controls: Controls,
    gates: GateControls,
    nights: NightControls,
) -> Door:
    authorized = AuthorizeResult(
        enterprise_id=None,
        team_id=identity.team,
        bot_id=identity.bot,
        bot_user_id=identity.user,
        bot_token=client.token,
    )

    async def authorize() -> AuthorizeResult:
        return authorized

    bolt_log = logging.getLogger("journeyman.bolt")
    bolt_log.setLevel(logging.ERROR)  # below that it logs bodies of requests
    app = AsyncApp(
        name=bolt_log.name,  # Bolt sets the level of the logger of this name
        logger=bolt_log,
        client=client,
        authorize=authorize,
        signing_secret="",
        request_verification_enabled=False,  # done before, at the edge
        ssl_check_enabled=False,
    )
    _store_first(app, identity, deliveries)
    _listen(app, desk, mentions, controls, gates, nights)
    return Door(app=app, deliveries=deliveries)


def _store_first(app: AsyncApp, identity: Identity, deliveries: Deliveries) -> None:
    async def store(
        body: Json,
        context: dict[str, Any],
        next: Callable[[], Awaitable[BoltResponse]],
    ) -> BoltResponse:
        if _DELIVERY in context:
            return await next()
        if body.get("type") == "app_rate_limited":
            log.warning("deliveries_dropped_by_slack", extra={"team": body.get("team_id")})
        key = key_of(body, identity)
        if key is None:
            return BoltResponse(status=200, body="")
        try:
            failpoints.reached(effect_of(body), "before_intent", StoreUnavailable)
            delivery = await deliveries.accept(SOURCE, key, body)
        except StoreUnavailable:
            return BoltResponse(status=503, body="")  # Slack delivers it again
        if delivery is None:
            return BoltResponse(status=200, body="")
        context[_DELIVERY] = delivery
        return await next()

    cast("Any", app).use(store)


def _listen(
    app: Any,
    desk: Desk,
    mentions: Mentions,
    controls: Controls,
    gates: GateControls,
    nights: NightControls,
) -> None:
    def listener(work: Work) -> Callable[..., Awaitable[None]]:
        async def listen(ack: Ack, body: Json, context: dict[str, Any]) -> None:
            done: asyncio.Event | None = context.get(_AGAIN)
            try:
                failpoints.reached("ack", "before_call", ConnectionResetError)
                await ack()
                failpoints.reached("ack", "after_call", StoreUnavailable)
                await desk.handle(context[_DELIVERY], body, work, again=done is not None)
            finally:
                if done:
                    done.set()

        return listen

    async def nothing(body: Json) -> None:
        """A link button: Slack opens the address itself."""

    app.event("app_mention")(listener(mentions.on_message))
    app.event("message")(listener(mentions.on_message))
    app.event("agent_session_stopped")(listener(controls.on_native_stop))
    for action, work in {
        "run_menu": controls.on_menu,
        "run_stop": controls.on_stop,
        "run_retry": controls.on_retry,
        "run_take_over": controls.on_take_over,
        "run_hint": controls.on_hint,
        "run_changes": controls.on_changes,
        "run_feedback": controls.on_feedback,
        "plan_approve": controls.on_plan_approved,
        "hold_accept": controls.on_hold_accepted,
        "unlink_account": controls.on_unlink,
        "pick_project": controls.on_pick,
        "pick_cancel": controls.on_pick_cancelled,
        "gate_approve": gates.on_approve,
        "gate_reject": gates.on_reject,
        "gate_again": gates.on_again,
        "deliver_promote": gates.on_promote,
        "deliver_revert": gates.on_revert,
        FIX: nights.on_fix,
        MENU: nights.on_menu,
    }.items():
        app.action(action)(listener(work))
    app.action(re.compile(r"run_answer_\d"))(listener(controls.on_answer))
    app.action(re.compile(r"view_.*"))(listener(nothing))
    app.view("run_text")(listener(controls.on_text_submitted))
    app.view("stop_run")(listener(controls.on_stop_submitted))
    app.view(CALLBACK)(listener(gates.on_rejected))
