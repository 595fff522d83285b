"""`journeyman serve` that does a night and hangs with the report in its hands."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from quick import quicken
from turned import turned

import agent.maintenance.shift
from agent.adapters.postgres_nights import NightStore
from agent.maintenance.night import Task

HAS_DONE = "the night is done, and not stored"


async def _hangs(self: NightStore, *_: Any) -> bool:
    print(HAS_DONE, flush=True)
    return await asyncio.Event().wait()


if __name__ == "__main__":
    from bot.cli import main

    quicken()
    agent.maintenance.shift.TASKS = {Task.LINT: turned}
    NightStore.finish = _hangs  # pyright: ignore[reportAttributeAccessIssue]
    sys.exit(main())
