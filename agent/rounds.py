"""When what stands outside is compared with what is stored here: at a start, and once a night."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from agent.errors import JourneymanError, Unavailable
from agent.guard import guarded
from agent.ports import Clock

log = logging.getLogger(__name__)

HOUR = 3  #: of the night, UTC
FRESH = timedelta(minutes=1)  #: a service that is started again and again asks no more often
EVERY = 600.0  #: seconds between two looks whether it is time
AGAIN = 300.0  #: seconds until the next attempt while something outside is away


class Rounds(Protocol):
    """Which rounds were made, by any process. Raises `StoreUnavailable`."""

    def alone(self, name: str) -> AbstractAsyncContextManager[object]:
        """Waits until no other process is at it; whoever hangs or dies is not waited for."""
        ...

    async def last(self, name: str) -> tuple[datetime | None, datetime]:
        """When the last round that came to its end was begun, and what time it is now."""
        ...

    async def made(self, name: str, began: datetime) -> None: ...


#: Given when the last round was begun, and when this one was. False: there was nothing to look at.
Make = Callable[[datetime | None, datetime], Awaitable[bool]]


@dataclass(frozen=True, kw_only=True)
class Round:
    name: str  #: of all processes, one at a time makes the round of this name
    make: Make
    rounds: Rounds
    clock: Clock

    async def serve(self) -> None:
        """Until cancelled."""
        began: datetime | None = None  # until a round is made after it, its round is still to come
        while True:
            pause = EVERY
            try:
                with guarded(log, "round_broke", round=self.name):
                    last, now = await self.rounds.last(self.name)
                    began = began or now
                    await self.once(starts=last is None or last < began)
            except JourneymanError as error:  # what else is served here goes on
                log.warning("round_waits", extra={"round": self.name, "reason": str(error)})
                named = error.retry_after if isinstance(error, Unavailable) else None
                pause = named or AGAIN
            await self.clock.sleep(pause)

    async def once(self, *, starts: bool) -> bool:
        """False: it was not the time, or another process was first. Raises `Unavailable`."""
        before, now = await self.rounds.last(self.name)
        if not due(before, now, starts=starts):
            return False
        async with self.rounds.alone(self.name):
            last, now = await self.rounds.last(self.name)
            if last != before or not await self.make(last, now):
                return False
            await self.rounds.made(self.name, now)
        return True


def due(last: datetime | None, now: datetime, *, starts: bool) -> bool:
    if last is None:
        return True
    if starts and now - last >= FRESH:
        return True
    night = now.replace(hour=HOUR, minute=0, second=0, microsecond=0)
    if night > now:
        night -= timedelta(days=1)
    return last < night
