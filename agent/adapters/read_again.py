"""A moment's patience with a GitLab that fails to answer what only reads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import wraps
from types import CoroutineType
from typing import Any, ParamSpec, TypeVar

from agent.errors import ForgeUnavailable

PATIENCE = 3.0  #: seconds from the first question to the last one
_PAUSE = 0.25  # seconds; doubles

P = ParamSpec("P")
T = TypeVar("T")


def read_again(
    read: Callable[P, CoroutineType[Any, Any, T]],
) -> Callable[P, CoroutineType[Any, Any, T]]:
    """A merge asks some twenty things first, and one answer that fails would begin all of them
    anew. What takes long to fail, or names a longer wait, is left to whoever asks."""

    @wraps(read)
    async def patient(*args: P.args, **kwargs: P.kwargs) -> T:
        ends, pause = time.monotonic() + PATIENCE, _PAUSE
        while True:
            try:
                return await read(*args, **kwargs)
            except ForgeUnavailable as error:
                wait = error.retry_after or pause
                if time.monotonic() + wait > ends:
                    raise
            await asyncio.sleep(wait)
            pause *= 2

    return patient
