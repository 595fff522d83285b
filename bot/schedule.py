"""What happens by the clock. Any number of replicas may tick: the database lets one of them act."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from agent.errors import Conflict, Unavailable
from agent.events import RunEnded
from agent.ports import Clock, Store, Write
from agent.run import Run, RunStatus
from agent.state import fold

log = logging.getLogger("journeyman.schedule")

TICK = 60  #: seconds
PATIENCE = timedelta(hours=24)  #: for an answer
PRUNE = 3600  #: seconds between two looks at what may be forgotten


@dataclass(kw_only=True)
class Schedule:
    """`prune` forgets deliveries that were dealt with long ago."""

    store: Store
    clock: Clock
    prune: Callable[[], Awaitable[None]]

    async def serve(self) -> None:
        """Until cancelled."""
        # imported here, like everything heavy: commands other than `serve` do without it
        from apscheduler.schedulers.asyncio import AsyncIOScheduler

        scheduler = AsyncIOScheduler(
            timezone="UTC",
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": None},
        )
        add = cast("Callable[..., object]", scheduler.add_job)  # pyright: ignore[reportUnknownMemberType]
        add(self.tick, "interval", seconds=TICK)
        add(self.prune, "interval", seconds=PRUNE)
        scheduler.start()
        try:
            await asyncio.Event().wait()
        finally:
            scheduler.shutdown(wait=False)  # pyright: ignore[reportUnknownMemberType]

    async def tick(self) -> None:
        """Ends runs whose question nobody has answered."""
        try:
            waiting = await self.store.runs(statuses={RunStatus.WAITING_FOR_ANSWER}, limit=1000)
            for run in waiting:
                if self.clock.now() - run.updated_at > PATIENCE:
                    await self._expire(run)
        except Unavailable as error:
            log.warning("tick_waits", extra={"reason": str(error)})

    async def _expire(self, run: Run) -> None:
        if fold(await self.store.events(run.id)).question is None:
            return
        hours = int(PATIENCE.total_seconds() // 3600)
        reason = (
            f"Nobody answered within {hours} hours, so the run has stopped. What was done is kept; "
            "a mention in this thread goes on with it."
        )
        ended = Write(payloads=(RunEnded(status=RunStatus.CANCELLED, reason=reason),))
        try:
            await self.store.write(
                run.id, ended, actor="schedule", expect={RunStatus.WAITING_FOR_ANSWER}
            )
        except Conflict:
            return  # answered, or ended by another replica, in this very moment
        log.info("question_expired", extra={"run": run.id})
