"""Takes a stored delivery through its listener, and says so when that does not work."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from agent import failpoints
from agent.errors import (
    JourneymanError,
    NotLinked,
    Refused,
    StoreUnavailable,
    Unavailable,
    Unrecorded,
)
from bot.inbox import Deliveries
from bot.linking import Linking
from bot.records import Json, first, record
from bot.slack import Slack
from bot.views import errors

log = logging.getLogger("journeyman.listeners")

HOLD = 2.0  #: seconds after which a delivery in hand is said to be so; see `inbox.LEFT`
GIVE_BACK = 5.0  #: seconds that the database has for this at the end
ENDED = "The service was ended while it was being dealt with."

Work = Callable[[Json], Awaitable[None]]


@dataclass(kw_only=True)
class Desk:
    deliveries: Deliveries
    slack: Slack
    linking: Linking
    hold: float = HOLD
    _working: dict[int, asyncio.Task[Any]] = field(default_factory=dict[int, "asyncio.Task[Any]"])
    _unmarked: set[int] = field(default_factory=set[int])  #: done, which could not be stored

    def busy(self, delivery: int) -> bool:
        return delivery in self._working

    async def handle(self, delivery: int, body: Json, work: Work, *, again: bool = False) -> None:
        task = asyncio.current_task()
        if delivery in self._working or task is None:
            if again:  # it takes long, and nobody has died of it
                await self.deliveries.failed(delivery, "It is still being dealt with.")
            return
        self._working[delivery] = task
        try:
            async with self._held(delivery):
                if delivery not in self._unmarked:
                    await self._guarded(delivery, body, work, again)
                else:  # whoever was told what came of it can rely on that
                    await self._mark(delivery, body)
        finally:
            del self._working[delivery]

    async def give_up(self, delivery: int, body: Json) -> bool:
        """Tells whoever sent it that nothing more comes of it; False: later."""
        return delivery not in self._working and await self._tell(body, errors.given_up(delivery))

    async def close(self, timeout: float = 5.0) -> None:
        """Lets what is in hand finish; the rest is ended, and dispatched again at the next start:
        it would go on with what is closed after this."""
        working = dict(self._working)
        if not working:
            return
        _, late = await asyncio.wait(working.values(), timeout=timeout)
        if not late:
            return
        for each in late:
            each.cancel()
        await asyncio.wait(late)
        given_back = (self._given_back(each) for each, task in working.items() if task in late)
        with suppress(TimeoutError):
            async with asyncio.timeout(GIVE_BACK):
                await asyncio.gather(*given_back)

    async def _given_back(self, delivery: int) -> None:
        """Nobody has died of it: the attempt does not count."""
        try:
            await self.deliveries.failed(delivery, ENDED)
        except Unavailable as error:
            log.warning("delivery_kept", extra={"delivery": delivery, "reason": str(error)})

    @asynccontextmanager
    async def _held(self, delivery: int) -> AsyncGenerator[None]:
        """While it is dealt with no other process is given it."""
        holding = asyncio.create_task(self._hold(delivery))
        try:
            yield
        finally:
            holding.cancel()

    async def _hold(self, delivery: int) -> None:
        while True:
            await asyncio.sleep(self.hold)
            try:
                await self.deliveries.held(delivery)
            except Unavailable as error:
                log.warning("delivery_not_held", extra={"delivery": delivery, "reason": str(error)})

    async def _guarded(self, delivery: int, body: Json, work: Work, again: bool) -> None:
        try:
            await self._worked(body, work)
        except Unavailable as error:
            log.warning("listener_waits", extra={"delivery": delivery, "reason": str(error)})
            if not again:
                await self._tell(body, errors.unavailable(str(error)))
            await self.deliveries.failed(delivery, str(error))
            return
        except Unrecorded as error:  # first what makes it true
            stays = await self._mark(delivery, body)
            await self._tell(body, errors.refused(str(error)) if stays else errors.undecided())
            while not stays:  # in hand, so that nobody else is given it
                await asyncio.sleep(self.hold)
                stays = await self._mark(delivery, body)
            return
        except Refused as error:
            await self._tell(body, errors.refused(str(error)))
        except JourneymanError as error:
            log.warning("listener_refused", extra={"delivery": delivery, "reason": str(error)})
            await self._tell(body, errors.refused(str(error)))
        except Exception:  # the one guard: a defect of ours must not be silent in the thread
            error_id = secrets.token_hex(4)
            log.exception("listener_broke", extra={"delivery": delivery, "error_id": error_id})
            await self._tell(body, errors.broken(error_id))
        await self._mark(delivery, body)

    async def _mark(self, delivery: int, body: Json) -> bool:
        """False: it may be given to another process."""
        try:
            await self.deliveries.handled(delivery)
            self._unmarked.discard(delivery)
            failpoints.reached(effect_of(body), "after_outcome", StoreUnavailable)
        except Unavailable as error:
            self._unmarked.add(delivery)
            log.warning("delivery_unmarked", extra={"delivery": delivery, "reason": str(error)})
            return False
        return True

    async def _worked(self, body: Json, work: Work) -> None:
        try:
            await work(body)
        except NotLinked:
            place = where(body)
            await self.linking.offer(place.user, place.channel, place.thread_ts)

    async def _tell(self, body: Json, text: str) -> bool:
        """False: Slack does not answer."""
        place = where(body)
        if not place.channel or not place.user:
            return True
        return await self.slack.tell(place.channel, place.user, place.thread_ts, text)


def effect_of(body: Json) -> str:
    """What is brought about by handling it, beside the answer that it has come."""
    pressed = first(body.get("actions")).get("action_id")
    return "decide" if pressed == "gate_approve" else "ack"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where something was said or pressed, and by whom."""

    team: str
    channel: str
    user: str
    ts: str = ""  #: of the message
    thread_ts: str | None = None


def where(body: Json) -> Place:
    if event := record(body.get("event")):
        return Place(
            team=body.get("team_id", ""),
            channel=event.get("channel", ""),
            user=event.get("user", ""),
            ts=event.get("ts", ""),
            thread_ts=event.get("thread_ts"),
        )
    if view := record(body.get("view")):
        _, channel, thread_ts = (str(view.get("private_metadata", "")) + "  ").split(" ")[:3]
        return Place(
            team=record(body.get("team")).get("id", ""),
            channel=channel,
            user=record(body.get("user")).get("id", ""),
            thread_ts=thread_ts or None,
        )
    message, box = record(body.get("message")), record(body.get("container"))
    thread_ts = message.get("thread_ts") or message.get("ts") or box.get("thread_ts")
    return Place(
        team=record(body.get("team")).get("id", ""),
        channel=record(body.get("channel")).get("id", ""),
        user=record(body.get("user")).get("id", ""),
        ts=message.get("ts", ""),
        thread_ts=thread_ts,
    )
