"""Every delivery is stored under its key before it is acknowledged, and handled once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from agent.errors import Unavailable
from agent.guard import spared
from bot.command import mentions
from bot.records import Json, first, record
from bot.slack import Identity

log = logging.getLogger("journeyman.inbox")

SOURCE = "slack"
EVERY = 30.0  #: seconds between two looks for what was left undone
LEFT = 10.0  #: seconds; whoever has a delivery in hand says so more often than that
#: A delivery that was given to five processes counts as lost after this time.
LOST = timedelta(minutes=5)


class Delivery(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def source(self) -> str: ...
    @property
    def payload(self) -> Mapping[str, Any]: ...
    @property
    def tried_at(self) -> datetime: ...
    @property
    def attempts(self) -> int: ...


class Deliveries(Protocol):
    """Where deliveries are kept. Raises `StoreUnavailable`."""

    async def accept(self, source: str, key: str, payload: Mapping[str, Any]) -> int | None: ...
    async def unhandled(self, older_than: timedelta) -> Sequence[Delivery]: ...
    async def begun(self, id: int, tried_at: datetime) -> bool: ...
    async def held(self, id: int) -> None: ...
    async def handled(self, id: int) -> None: ...
    async def failed(self, id: int, error: str) -> None: ...
    async def spent(self, older_than: timedelta) -> Sequence[Delivery]: ...
    async def given_up(self, id: int) -> None: ...


def key_of(body: Json, us: Identity) -> str | None:
    """What makes a delivery the same one again; None for what is none of our business.

    A mention arrives as `app_mention` and as `message`, each up to four times: all of them are
    one message of one channel.
    """
    if body.get("type") == "event_callback":
        return _event_key(body, us)
    team = record(body.get("team")).get("id", "")
    user = record(body.get("user")).get("id", "")
    if team != us.team or not user:
        return None
    return deed_of(body) or None


def deed_of(body: Json) -> str:
    """By which a press, or a form that was sent, is the same one again."""
    team = record(body.get("team")).get("id", "")
    user = record(body.get("user")).get("id", "")
    if body.get("type") == "block_actions":
        action, box = first(body.get("actions")), record(body.get("container"))
        place = box.get("message_ts") or box.get("view_id", "")
        return ":".join(
            ("action", team, place, action.get("action_id", ""), action.get("action_ts", ""), user)
        )
    if body.get("type") == "view_submission":
        view = record(body.get("view"))
        return f"view:{team}:{view.get('id')}:{user}"
    return ""


def _event_key(body: Json, us: Identity) -> str | None:
    event = record(body.get("event"))
    team = body.get("team_id", "")
    if team != us.team or event.get("user") == us.user:
        return None
    if event.get("type") == "agent_session_stopped":
        return f"stopped:{team}:{event.get('channel')}:{event.get('event_ts')}"
    if event.get("type") not in ("app_mention", "message"):
        return None
    if event.get("subtype") or event.get("bot_id") or not event.get("user"):
        return None
    concerns_us = (
        mentions(event.get("text", ""), us.user)
        or event.get("channel_type") == "im"
        or event.get("thread_ts")  # it may answer a question
    )
    return f"message:{team}:{event.get('channel')}:{event.get('ts')}" if concerns_us else None


@dataclass(kw_only=True)
class Redelivery:
    """Dispatches again what was stored and never finished: a crash came between. What five
    processes have died of is not tried a sixth time: `give_up` tells whoever sent it, and says
    whether that has been done."""

    deliveries: Deliveries
    #: by source; what a source without one has sent stays where it is. Each answers at the end
    #: of it, unless that takes long: what kills the process is counted for no other delivery.
    dispatch: Mapping[str, Callable[[int, Mapping[str, Any]], Awaitable[None]]]
    give_up: Mapping[str, Callable[[int, Mapping[str, Any]], Awaitable[bool]]] = field(
        default_factory=dict[str, "Callable[[int, Mapping[str, Any]], Awaitable[bool]]"]
    )
    every: float = EVERY
    left: float = LEFT

    async def serve(self) -> None:
        """Until cancelled. What a former process left is taken up as soon as it cannot be in the
        hands of a living one."""
        pause = min(self.left, self.every)
        while True:
            try:
                for delivery in await self.deliveries.unhandled(timedelta(seconds=self.left)):
                    await self._again(delivery)
                for delivery in await self.deliveries.spent(LOST):
                    await self._give_up(delivery)
            except Unavailable as error:
                log.warning("redelivery_waits", extra={"reason": str(error)})
            await asyncio.sleep(pause)
            pause = self.every

    async def _again(self, delivery: Delivery) -> None:
        """Those after it have their turn whatever comes of this one."""
        again = self.dispatch.get(delivery.source)
        if again is None or not await self.deliveries.begun(delivery.id, delivery.tried_at):
            return
        log.info("redelivered", extra={"delivery": delivery.id})
        try:
            with spared(log, "redelivery_broke", delivery=delivery.id):
                await again(delivery.id, delivery.payload)
        except Unavailable as error:
            await self.deliveries.failed(delivery.id, str(error))

    async def _give_up(self, delivery: Delivery) -> None:
        tell = self.give_up.get(delivery.source)
        if tell and not await tell(delivery.id, delivery.payload):
            return
        log.error("delivery_given_up", extra={"delivery": delivery.id, "source": delivery.source})
        await self.deliveries.given_up(delivery.id)
