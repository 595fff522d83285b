"""For what must not be left half done, whenever and however often its caller is cancelled."""

from __future__ import annotations

import asyncio
from typing import Any


async def to_the_end(task: asyncio.Task[Any]) -> asyncio.CancelledError | None:
    """Waits for it, and returns the caller's last cancellation meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled
