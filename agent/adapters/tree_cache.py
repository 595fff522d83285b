"""What trees that are asked again need, in memory: milliseconds instead of a scan."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, Protocol, TypeVar

from agent.errors import StoreUnavailable

log = logging.getLogger(__name__)

LARGEST = 48 << 20  #: bytes of one tree
MOST = 96 << 20  #: bytes of all
FROM = 2  #: searches of a tree, after which it is read


class Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Sized)


class TreeCache(Generic[K, V]):
    """Of trees that are complete: what is read once stays true."""

    def __init__(self, *, read: Callable[[K], Awaitable[V]]) -> None:
        self._read_it = read
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._asked: Counter[K] = Counter()
        self._reading: dict[K, asyncio.Task[None]] = {}

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
            self._kept.move_to_end(key)
            return self._kept[key]
        if len(self._asked) > 1000:
            self._asked.clear()
        self._asked[key] += 1
        if size <= LARGEST and self._asked[key] >= FROM and not self._reading:
            self._reading[key] = asyncio.create_task(self._read(key))
        return None

    async def _read(self, key: K) -> None:
        try:
            self._kept[key] = await self._read_it(key)
        except StoreUnavailable as error:
            log.info("tree_not_kept", extra={"reason": str(error)})
        finally:
            del self._reading[key]
        while sum(each.nbytes for each in self._kept.values()) > MOST:
            self._kept.popitem(last=False)
