"""Where deliveries come in again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from bot.listeners.bolt import Door


@dataclass(kw_only=True)
class FakeApp:
    """Has every delivery, and is done with it when it is told to be."""

    dispatched: asyncio.Queue[asyncio.Event] = field(default_factory=asyncio.Queue)

    async def async_dispatch(self, request: AsyncBoltRequest) -> BoltResponse:
        done: Any = request.context["journeyman_again"]
        self.dispatched.put_nowait(done)
        return BoltResponse(status=200)


@pytest.mark.parametrize("turns", range(5))
async def test_who_dispatches_again_can_be_stopped_in_the_moment_of_the_end(turns: int) -> None:
    """A stop that is swallowed there leaves a front that never ends."""
    app: Any = FakeApp()
    door: Any = Door(app=app, deliveries=None)  # pyright: ignore[reportArgumentType]
    again = asyncio.create_task(door.again(1, {"type": "event_callback"}))
    done = await app.dispatched.get()
    await asyncio.sleep(0)
    done.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    stopped = again.cancel()
    await asyncio.wait({again})
    assert again.cancelled() == stopped
