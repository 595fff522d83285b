"""What happens by the clock. Any number of replicas may tick: the database lets one of them act."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, cast
from zoneinfo import ZoneInfo

from agent.errors import Conflict, Unavailable
from agent.events import HoldReminded, Payload, PushHeld, RunEnded
from agent.guard import spared
from agent.maintenance.diary import Diary
from agent.maintenance.diary import Schedule as NightSchedule
from agent.ports import Clock, Store, Write
from agent.run import RunId, RunStatus
from agent.state import fold

log = logging.getLogger("journeyman.schedule")

TICK = 60  #: seconds
TELL = TICK + 5  #: a morning is told of when the nights that were missed are known
PATIENCE = timedelta(hours=24)  #: for an answer, or for a hold to be accepted
REMIND = PATIENCE / 4
#: Between two looks at the same wait; what a hint tells of is looked at sooner.
EVERY = timedelta(minutes=15)
MOST = 200  #: waits that one tick looks at: each may be a question to GitLab
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
PRUNE = 3600  #: seconds between two looks at what may be forgotten


def fires(cron: str, zone: str) -> Callable[[datetime], datetime]:
    """The first moment after another one at which five fields of cron fire, by the clock of a
    zone: a time that daylight saving skips or repeats is fired for once. Raises `ValueError`."""
    from apscheduler.triggers.cron import CronTrigger

    place = ZoneInfo(zone)
    make = cast("Callable[..., Any]", CronTrigger.from_crontab)  # pyright: ignore[reportUnknownMemberType]
    *fields, days = cron.split() or [""]
    # APScheduler counts days of the week from Monday, cron from Sunday
    days = re.sub(r"(?<!/)\b[0-7]\b", lambda day: _DAYS[int(day[0])], days)
    trigger = make(" ".join((*fields, days)), timezone=place)

    def after(moment: datetime) -> datetime:
        while True:
            local = (moment + timedelta(seconds=1)).astimezone(place)
            found = cast("datetime | None", trigger.get_next_fire_time(None, local))
            if found is None:
                raise ValueError(f"{cron} never fires.")
            moment = found.astimezone(UTC)
            if not found.fold:  # else it is the same time by the clock as an hour before
                return moment

    return after


class Waiting(Protocol):
    async def waiting(self, status: RunStatus, made_before: datetime) -> Sequence[RunId]:
        """Longest first."""
        ...


@dataclass(kw_only=True)
class Looks:
    """Whose turn it is to be looked at."""

    _at: dict[RunId, datetime] = field(default_factory=dict["RunId", datetime])

    def due(self, waiting: Sequence[RunId], now: datetime) -> Sequence[RunId]:
        """First those that were never looked at, then those whose last look is longest ago."""
        never = now - EVERY
        self._at = {run: self._at[run] for run in waiting if run in self._at}
        due = [run for run in waiting if self._at.get(run, never) <= never]
        long_ago = datetime.min.replace(tzinfo=UTC)
        return sorted(due, key=lambda run: self._at.get(run, long_ago))[:MOST]

    def looked(self, run: RunId, now: datetime) -> None:
        self._at[run] = now

    def put_off(self, run: RunId, now: datetime) -> None:
        """The next tick looks, but first at those that are due by then."""
        self._at[run] = now - EVERY

    def soon(self, run: RunId) -> None:
        """Something has been heard of it: the next tick looks."""
        self._at.pop(run, None)


@dataclass(kw_only=True)
class Schedule:
    """`prune` forgets deliveries that were dealt with long ago; `look_after` sees to one run that
    waits for an approval; each of `tells` posts digests whose hour has come."""

    store: Store
    waits: Waiting
    clock: Clock
    prune: Callable[[], Awaitable[None]]
    look_after: Callable[[RunId], Awaitable[None]] | None = None
    diary: Diary | None = None
    nights: Sequence[NightSchedule] = ()
    tells: Sequence[Callable[[], Awaitable[None]]] = ()
    gates: Looks = field(default_factory=Looks)
    _questions: Looks = field(default_factory=Looks)

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
        add(self.fire, "interval", seconds=TICK)
        for tell in self.tells:
            add(tell, "interval", seconds=TELL)
        scheduler.start()
        try:
            await asyncio.Event().wait()
        finally:
            scheduler.shutdown(wait=False)  # pyright: ignore[reportUnknownMemberType]

    async def tick(self) -> None:
        """Ends runs whose question or hold nobody has dealt with; of a hold people are reminded
        once."""
        try:
            # a refused click touches the run, so a hold tells its own time
            before = self.clock.now() - REMIND
            await self._each(self._questions, RunStatus.WAITING_FOR_ANSWER, before, self._look)
            if self.look_after:
                gates = RunStatus.WAITING_FOR_APPROVAL
                await self._each(self.gates, gates, before + PATIENCE, self.look_after)
        except Unavailable as error:
            log.warning("tick_waits", extra={"reason": str(error)})

    async def fire(self) -> None:
        """Writes down the nights that have come due."""
        if self.diary is None:
            return
        try:
            await self.diary.tick(self.nights, lambda s, now: fires(s.cron, s.zone)(now))
        except Unavailable as error:
            log.warning("nights_wait", extra={"reason": str(error)})

    async def _each(
        self,
        looks: Looks,
        status: RunStatus,
        before: datetime,
        look: Callable[[RunId], Awaitable[None]],
    ) -> None:
        now = self.clock.now()  # before the look: what is due meanwhile is not overlooked
        for run in looks.due(await self.waits.waiting(status, before), now):
            looks.looked(run, now)
            try:
                with spared(log, "look_broke", run=run):
                    await look(run)
            except Unavailable:  # it may be so for this one only
                looks.put_off(run, now)
                raise

    async def _look(self, run: RunId) -> None:
        events = await self.store.events(run)
        state, now = fold(events), self.clock.now()
        hours = int(PATIENCE.total_seconds() // 3600)
        if state.question is not None:
            if now - events[-1].at > PATIENCE:
                await self._end(run, f"Nobody answered within {hours} hours", state.seq)
            return
        since = next((e.at for e in reversed(events) if isinstance(e.payload, PushHeld)), None)
        if state.held is None or since is None:
            return
        if now - since > PATIENCE:
            what = f"Nobody accepted what holds the push within {hours} hours"
            await self._end(run, what, state.seq)
        elif now - since > REMIND and state.reminded != state.held_seq:
            await self._write(run, HoldReminded(hold=state.held_seq), state.seq)

    async def _end(self, run: RunId, what: str, seq: int) -> None:
        reason = (
            f"{what}, so the run has stopped. What was done is kept; "
            "a mention in this thread goes on with it."
        )
        if await self._write(run, RunEnded(status=RunStatus.CANCELLED, reason=reason), seq):
            log.info("wait_expired", extra={"run": run})

    async def _write(self, run: RunId, payload: Payload, seq: int) -> bool:
        """False: somebody has dealt with it in this very moment, or another replica was first."""
        try:
            await self.store.write(
                run,
                Write(payloads=(payload,)),
                actor="schedule",
                expect={RunStatus.WAITING_FOR_ANSWER},
                expect_seq=seq,
            )
        except Conflict:
            return False
        return True
