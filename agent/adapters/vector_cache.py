"""The vectors of trees that are asked again, in memory: a millisecond instead of a scan."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agent.errors import StoreUnavailable
from agent.retrieval.embed import Vectors

log = logging.getLogger(__name__)

LARGEST = 48 << 20  #: bytes of one tree
MOST = 96 << 20  #: bytes of all
FROM = 2  #: searches of a tree, after which its vectors are read

Key = tuple[int, str]  #: tree and model


@dataclass(frozen=True, kw_only=True)
class Matrix:
    chunks: NDArray[np.int64]
    vectors: Vectors  #: a row each

    def near(self, vector: Vectors, most: int) -> dict[int, float]:
        """Cosines by chunk, the nearest first."""
        # by one thread: those of BLAS wait for each other on a busy machine
        cosines: Vectors = np.einsum("ij,j->i", self.vectors, vector)
        order = np.argsort(-cosines)[:most]
        return dict(zip(self.chunks[order].tolist(), cosines[order].tolist(), strict=True))


@dataclass(kw_only=True)
class VectorCache:
    """Of trees that are complete: what is read once stays true."""

    read: Callable[[Key], Awaitable[Matrix]]
    _kept: OrderedDict[Key, Matrix] = field(default_factory=OrderedDict[Key, Matrix], init=False)
    _asked: Counter[Key] = field(default_factory=Counter[Key], init=False)
    _reading: dict[Key, asyncio.Task[None]] = field(
        default_factory=dict[Key, asyncio.Task[None]], init=False
    )

    async def close(self) -> None:
        tasks = [*self._reading.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def get(self, key: Key, size: int) -> Matrix | None:
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

    async def _read(self, key: Key) -> None:
        try:
            self._kept[key] = await self.read(key)
        except StoreUnavailable as error:
            log.info("vectors_not_read", extra={"reason": str(error)})
        finally:
            del self._reading[key]
        while sum(matrix.vectors.nbytes for matrix in self._kept.values()) > MOST:
            self._kept.popitem(last=False)
