"""What trees that are asked again need, in memory: milliseconds instead of a scan."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, Protocol, TypeVar

from agent.errors import Broken, StoreUnavailable
from agent.guard import guarded

log = logging.getLogger(__name__)

LARGEST = 24 << 20  #: bytes of one tree; while it is read, about twice as much
MOST = 96 << 20  #: bytes of all that share a room
FROM = 2  #: searches of a tree, after which it is read
_PAUSE = 60.0  #: seconds that a tree is left alone when PostgreSQL was away
_KNOWN = 1000  #: trees of which something is remembered


class Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Sized)


class Room:
    """Bytes that several caches share: what was asked for least lately goes first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._held: OrderedDict[tuple[int, Hashable], tuple[int, Callable[[], object]]]
        self._held = OrderedDict()

    def asked(self, cache: object, key: Hashable) -> None:
        self._held.move_to_end((id(cache), key))

    def hold(self, cache: object, key: Hashable, size: int, drop: Callable[[], object]) -> None:
        self._held[id(cache), key] = size, drop
        while sum(size for size, _ in self._held.values()) > self._most:
            _, (_, first) = self._held.popitem(last=False)
            first()


class TreeCache(Generic[K, V]):
    """Of trees that are complete: what is read once stays true."""

    def __init__(self, *, read: Callable[[K], Awaitable[V]], room: Room | None = None) -> None:
        self.room = room or Room()
        self._read_it = read
        self._kept: dict[K, V] = {}
        self._asked: Counter[K] = Counter()
        self._reading: dict[K, asyncio.Task[None]] = {}
        self._left: dict[K, float] = {}  #: until when, of those that could not be read

    async def close(self) -> None:
        tasks = [*self._reading.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def idle(self) -> None:
        """Waits for what is being read."""
        await asyncio.gather(*self._reading.values())

    def get(self, key: K, size: int) -> V | None:
        """`size`: bytes that it would take. Begins to read it when it is asked for again."""
        if key in self._kept:
            self.room.asked(self, key)
            return self._kept[key]
        if len(self._asked) > _KNOWN:
            self._asked.clear()
        self._asked[key] += 1
        again = time.monotonic() >= self._left.get(key, 0.0)
        if again and size <= LARGEST and self._asked[key] >= FROM and not self._reading:
            self._reading[key] = asyncio.create_task(self._read(key))
        return None

    async def _read(self, key: K) -> None:
        try:
            with guarded(log, "tree_broke"):
                found = await self._read_it(key)
        except StoreUnavailable as error:
            log.info("tree_not_kept", extra={"reason": str(error)})
            self._leave(key, time.monotonic() + _PAUSE)
        except Broken:
            self._leave(key, math.inf)
        else:
            if found.nbytes > LARGEST:  # than was thought; it would be read again and again
                self._leave(key, math.inf)
            else:
                self._kept[key] = found
                self.room.hold(self, key, found.nbytes, lambda: self._kept.pop(key, None))
        finally:
            del self._reading[key]

    def _leave(self, key: K, until: float) -> None:
        if len(self._left) > _KNOWN:
            self._left.clear()
        self._left[key] = until
