"""How often GitLab is asked about one run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from agent.ports import Clock
from agent.run import RunId

LEAST, MOST = 15.0, 60.0  #: seconds between two looks
AHEAD = 1  #: looks that a hint may have before their time


@dataclass(kw_only=True)
class Pace:
    """When this process may ask. Hints come in swarms: they shorten the wait for the next look,
    but over any time there is one look in `least` seconds, and `AHEAD` more."""

    clock: Clock
    least: float = LEAST
    #: when the looks so far would be over, had each taken its time
    _used: dict[RunId, float] = field(default_factory=dict[RunId, float], init=False)

    def left(self, run: RunId) -> float:
        """Seconds until the next look may be had."""
        used = self._used.get(run)
        return 0.0 if used is None else used - AHEAD * self.least - self.clock.monotonic()

    def asks(self, run: RunId) -> None:
        now = self.clock.monotonic()
        self._used[run] = max(now, self._used.get(run, now)) + self.least

    def forget(self, run: RunId) -> None:
        self._used.pop(run, None)

    def next(self, waited: float) -> float:
        """Seconds to the next look: the longer it takes, the less often."""
        return max(self.least, min(MOST, waited / 4))


@dataclass(kw_only=True)
class Turns:
    """Looks at a run whenever somebody asks for it: at once, or when `least` seconds have gone by
    since the last look. Whoever asks meanwhile waits for that same look, so none is lost."""

    look: Callable[[RunId], Awaitable[None]]
    clock: Clock
    least: float = LEAST
    _last: dict[RunId, float] = field(default_factory=dict[RunId, float], init=False)
    _next: dict[RunId, asyncio.Task[None]] = field(
        default_factory=dict[RunId, asyncio.Task[None]], init=False
    )

    async def ask(self, run: RunId) -> None:
        turn = self._next.get(run)
        if turn is None:
            turn = self._next[run] = asyncio.create_task(self._turn(run))
        await asyncio.shield(turn)  # others wait for it, too

    async def _turn(self, run: RunId) -> None:
        try:
            last = self._last.get(run)
            if last is not None and (left := last + self.least - self.clock.monotonic()) > 0:
                await self.clock.sleep(left)
        finally:
            del self._next[run]  # what is said from here on may be missed by this look
        now = self.clock.monotonic()
        kept = {each: at for each, at in self._last.items() if now - at < self.least}
        self._last = kept | {run: now}
        await self.look(run)
