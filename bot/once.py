"""Tells something once, whichever of several processes does it, and Slack away or not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from agent.errors import Unavailable
from agent.run import RunId, Thread
from bot.slack import Slack
from bot.slack_api import SlackRejected
from bot.views.blocks import Message

log = logging.getLogger("journeyman.digest")

LEASE = timedelta(minutes=10)
_SECONDS = LEASE.total_seconds() / 2  # for one message, Slack's patience included


class Claim(Protocol):
    """`again`: somebody tried before, and it may stand there."""

    @property
    def since(self) -> datetime: ...
    @property
    def until(self) -> datetime: ...
    @property
    def again(self) -> bool: ...


class Digested(Protocol):
    """What channels were told. Raises `StoreUnavailable`."""

    async def claim(
        self, channel: str, name: str, owner: str, lease: timedelta
    ) -> Claim | None: ...
    async def close(
        self, channel: str, name: str, owner: str, state: str, ts: str = ""
    ) -> None: ...
    async def release(self, channel: str, name: str, owner: str) -> None: ...
    async def closed(self, channel: str, name: str) -> bool: ...
    async def now(self) -> datetime: ...  # the database's, whatever this machine's clock says
    async def snooze(self, channel: str, project: str, span: timedelta, by: str) -> datetime: ...
    async def snoozed(self, channel: str) -> frozenset[str]: ...


@dataclass(frozen=True, kw_only=True)
class Telling:
    """What is to be told. `draw` makes the picture of it, and is called in a thread."""

    show: Callable[[str], Message | None]  #: given Slack's id of the picture, or nothing
    draw: Callable[[], bytes] | None = None
    file: str = ""  #: name of the picture


@dataclass(kw_only=True)
class Once:
    """`owner`: this process, unlike every other."""

    owner: str
    team: str
    book: Digested
    slack: Slack

    async def post(
        self, channel: str, name: str, make: Callable[[Claim], Awaitable[Telling]]
    ) -> bool:
        """False: it was told before, or somebody is at it. Raises `Unavailable`: another process,
        or a later tick, tries again."""
        claim = await self.book.claim(channel, name, self.owner, LEASE)
        if claim is None:
            return False
        try:
            async with asyncio.timeout(_SECONDS):
                state, ts = await self._tell(channel, name, claim, await make(claim))
        except (Unavailable, TimeoutError) as error:
            await self.book.release(channel, name, self.owner)
            raise Unavailable(f"The digest was not posted: {error}") from error
        except SlackRejected as error:
            log.warning("digest_refused", extra={"channel": channel, "code": error.code})
            state, ts = "refused", ""
        await self.book.close(channel, name, self.owner, state, ts)
        log.info("digest", extra={"channel": channel, "name_of": name, "state": state})
        return True

    async def _tell(
        self, channel: str, name: str, claim: Claim, telling: Telling
    ) -> tuple[str, str]:
        message = telling.show("")
        if message is None:
            return "quiet", ""
        mark = (RunId(0), f"digest:{name}")
        place = Thread(team=self.team, channel=channel, ts="")
        if claim.again and (ts := await self.slack.find(place, mark)):
            return "posted", ts
        if telling.draw is not None and (picture := await self._picture(telling, telling.draw)):
            message = telling.show(picture) or message
        return "posted", await self.slack.post(place, message, mark=mark)

    async def _picture(self, telling: Telling, draw: Callable[[], bytes]) -> str:
        """Slack's id of it; empty when there is no way to send it."""
        picture = await asyncio.to_thread(draw)
        try:
            return await self.slack.upload(telling.file, picture)
        except (Unavailable, SlackRejected) as error:
            log.warning("chart_lost", extra={"reason": str(error)})
            return ""


async def answer(slack: Slack, thread: Thread, message: Message, name: str) -> None:
    """Posts it in the thread, unless that was done before by somebody who died right after it, or
    never heard that it was done. `name`: unlike that of any other answer there."""
    mark = (RunId(0), name)
    try:
        if await slack.find(thread, mark):
            return
    except SlackRejected:  # the message that the thread hangs on is gone
        pass
    await slack.post(thread, message, mark=mark)
