"""At most so many calls in a time, the urgent ones first."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Pace:
    """One caller at a time, `gap` seconds between two. Lower `priority` goes first."""

    gap: float
    _free_at: float = 0.0
    _busy: bool = False
    _order: itertools.count[int] = field(default_factory=itertools.count)
    _waiting: list[tuple[int, int, asyncio.Future[None]]] = field(
        default_factory=list[tuple[int, int, "asyncio.Future[None]"]]
    )

    @asynccontextmanager
    async def turn(self, priority: int = 1) -> AsyncGenerator[None]:
        await self._enter(priority)
        try:
            loop = asyncio.get_running_loop()
            if (wait := self._free_at - loop.time()) > 0:
                await asyncio.sleep(wait)
            self._free_at = max(self._free_at, loop.time() + self.gap)
            yield
        finally:
            self._leave()

    def pause(self, seconds: float) -> None:
        """Nobody goes for so long: the other side asked for patience."""
        self._free_at = max(self._free_at, asyncio.get_running_loop().time() + seconds)

    async def _enter(self, priority: int) -> None:
        if not self._busy:
            self._busy = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._order), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            raise

    def _leave(self) -> None:
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._busy = False
