"""What one process does at a time: a row that it renews, and that another one takes over once it
has not been renewed. A process that hangs, or is stopped, loses it like one that died."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from uuid import uuid4

from agent.adapters.postgres import CONNECTION_ERRORS, Pool, translated

LENGTH = 5.0  #: seconds
_EVERY = 1.0  # seconds between two renewals
_LEAVING = 5.0  # seconds that giving it up may take; else it runs out by itself
_LOOK = 0.5  # seconds between two looks whether the other one has gone
_MARGIN = 1.0  # seconds that something which is begun may take to reach the other side

TAKE = """
INSERT INTO leases AS l (name, holder, until) VALUES ($1, $2, clock_timestamp() + $3::interval)
ON CONFLICT (name) DO UPDATE SET holder = EXCLUDED.holder, until = EXCLUDED.until
WHERE l.holder = EXCLUDED.holder OR l.until < clock_timestamp()
RETURNING true"""
LEAVE = "DELETE FROM leases WHERE name = $1 AND holder = $2"


class Hold:
    """`lost` is set as soon as it is not certain any more that nobody else is inside."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self.until = 0.0  #: by our own clock, never later than by the database's

    def sure(self) -> bool:
        """Also right where nothing of this process has run for a while."""
        return not self.lost.is_set() and time.monotonic() + _MARGIN < self.until


@asynccontextmanager
async def alone(pool: Pool, name: str) -> AsyncGenerator[Hold]:
    """Waits until no other process is inside. Raises `StoreUnavailable`."""
    lease = _Lease(pool, name)
    with translated():
        while not await lease.taken():  # noqa: ASYNC110 - it is another process's row
            await asyncio.sleep(_LOOK)
    keeping = asyncio.create_task(lease.keep(), name=f"lease of {name}")
    try:
        yield lease.hold
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})
        await lease.leave()


class _Lease:
    def __init__(self, pool: Pool, name: str) -> None:
        self.hold = Hold()
        self._pool = pool
        self._key = (name, uuid4().hex)

    async def taken(self) -> bool:
        sent = time.monotonic()
        length = timedelta(seconds=LENGTH)
        async with asyncio.timeout(LENGTH):
            if not await self._pool.fetchval(TAKE, *self._key, length):
                return False
        self.hold.until = sent + LENGTH
        return True

    async def keep(self) -> None:
        try:
            while True:
                await asyncio.sleep(_EVERY)
                left = self.hold.until - time.monotonic()
                try:
                    async with asyncio.timeout(max(0.0, left)):
                        if left <= 0 or not await self.taken():
                            return
                except CONNECTION_ERRORS:
                    continue
        finally:
            self.hold.lost.set()

    async def leave(self) -> None:
        with suppress(*CONNECTION_ERRORS):
            async with asyncio.timeout(_LEAVING):
                await self._pool.execute(LEAVE, *self._key)
