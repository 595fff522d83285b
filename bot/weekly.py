"""Posts what a week's runs came to: for each channel and week once, whoever of several ticks."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from agent.errors import Unavailable
from agent.events import RunAccepted, RunEvent
from agent.guard import spared
from agent.outcomes import READ, Outcome, Week, outcome, week_before
from bot.chart import Bar, bars
from bot.digest import DigestChannel
from bot.once import Once, Telling
from bot.views import weekly as view
from bot.views.blocks import Message

log = logging.getLogger("journeyman.digest")

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Logs(Protocol):
    """Raises `StoreUnavailable`."""

    def between(
        self,
        since: datetime,
        until: datetime,
        *,
        projects: Collection[str],
        read: Collection[type],
    ) -> AsyncIterator[Sequence[RunEvent]]:
        """The log of each run that something happened to, from its beginning, without the facts
        that are not to be read."""
        ...


@dataclass(kw_only=True)
class Weekly:
    once: Once
    channels: Sequence[DigestChannel]
    logs: Logs
    _told: set[tuple[str, date]] = field(default_factory=set[tuple[str, date]])

    async def tick(self) -> None:
        """Tells every channel whose day and hour have come. A week that could not be told is told
        later, until the next one is over."""
        for channel in self.channels:
            try:
                with spared(log, "weekly_broke", channel=channel.channel):
                    await self._due(channel)
            except Unavailable as error:
                log.warning(
                    "weekly_waits", extra={"channel": channel.channel, "reason": str(error)}
                )

    async def post(self, channel: DigestChannel, day: date) -> bool:
        """Tells of the seven days before that one. As `Once.post`."""
        week = week_before(day, ZoneInfo(channel.zone))
        return await self.once.post(
            channel.channel, _name(day), lambda claim: self._telling(channel, week)
        )

    async def _due(self, channel: DigestChannel) -> None:
        day = newest(await self.once.book.now(), channel)
        if (channel.channel, day) in self._told:
            return
        closed = await self.once.book.closed(channel.channel, _name(day))
        # whoever else is at it may die: that is seen to with the next tick
        if closed or await self.post(channel, day):
            self._told.add((channel.channel, day))

    async def _telling(self, channel: DigestChannel, week: Week) -> Telling:
        before = week_before(week.first, ZoneInfo(channel.zone))
        projects: dict[str, Outcome] = {}
        logs = self.logs.between(before.since, week.until, projects=channel.projects, read=READ)
        async for each in logs:
            first = each[0].payload
            if isinstance(first, RunAccepted):
                name = first.request.project
                projects[name] = projects.get(name, Outcome()) + outcome(each, week, before)
        pairs = view.counts(view.total(projects))
        drawn = [Bar(name=name, now=now, before=then) for name, now, then in pairs]

        def draw() -> bytes:
            return bars(view.span(week), view.span(before), drawn)

        def show(chart: str) -> Message | None:
            return view.weekly(week, projects, chart=chart, quiet_line=channel.quiet_line)

        file = f"week-{week.last:%Y-%m-%d}.png"
        return Telling(show=show, draw=draw if drawn else None, file=file)


def newest(now: datetime, channel: DigestChannel) -> date:
    """The newest day on which, at its hour, a week was to be told of."""
    zone = ZoneInfo(channel.zone)
    local = now.astimezone(zone)
    day = local.date() - timedelta(days=(local.weekday() - _DAYS.index(channel.weekly)) % 7)
    if local < datetime.combine(day, time.fromisoformat(channel.at), zone):
        day -= timedelta(days=7)
    return day


def _name(day: date) -> str:
    return f"week:{day.isoformat()}"
