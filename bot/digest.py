"""Posts the digest of the night: for each channel and morning once, whoever of several ticks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from agent.errors import Unavailable
from agent.guard import spared
from agent.maintenance.diary import Diary, Entry
from agent.maintenance.morning import DAYS, Morning, morning
from agent.ports import Store
from agent.project import Maintenance
from agent.run import RunId
from agent.state import RunState, fold
from bot.chart import Series, png
from bot.once import Claim, Digested, Once, Telling
from bot.settings import Settings
from bot.slack import Slack
from bot.views import digest as view
from bot.views import trend

log = logging.getLogger("journeyman.digest")

WAIT = timedelta(hours=2)  #: for nights that are not over in the morning
_WINDOW = timedelta(days=DAYS + 2)


@dataclass(frozen=True, kw_only=True)
class DigestChannel:
    """Where nights and weeks are told of. `at`: by the clock of `zone`."""

    channel: str
    projects: tuple[str, ...]
    zone: str = "UTC"
    at: str = "07:30"
    weekly: str = ""  #: "Mon", "Tue", …: the day on which weeks are told of; empty: none
    quiet_line: bool = False


def digest_channels(settings: Settings, only: str = "") -> tuple[DigestChannel, ...]:
    """Each channel that is told of nights, by what is set for the first of its projects."""
    return _channels(settings, lambda settled: bool(settled.schedule), only)


def weekly_channels(settings: Settings) -> tuple[DigestChannel, ...]:
    """Each channel that is told of weeks, likewise."""
    return _channels(settings, lambda settled: bool(settled.weekly))


def _channels(
    settings: Settings, tells: Callable[[Maintenance], bool], only: str = ""
) -> tuple[DigestChannel, ...]:
    of: dict[str, list[str]] = {}
    for path in settings.listed_projects:
        entry = settings.project(path)
        channel = entry.maintenance.digest or (*entry.channels, "")[0]
        if tells(entry.maintenance) and channel and only in ("", channel):
            of.setdefault(channel, []).append(path)
    made: list[DigestChannel] = []
    for channel, projects in of.items():
        settled = settings.project(projects[0]).maintenance
        made.append(
            DigestChannel(
                channel=channel,
                projects=tuple(projects),
                zone=settled.zone,
                at=settled.digest_at,
                weekly=settled.weekly,
                quiet_line=settled.quiet_line,
            )
        )
    return tuple(made)


@dataclass(kw_only=True)
class Digests:
    """`owner`: this process, unlike every other."""

    owner: str
    team: str
    channels: Sequence[DigestChannel]
    diary: Diary
    book: Digested
    store: Store
    slack: Slack
    _told: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    async def tick(self) -> None:
        """Tells every channel whose hour has come."""
        for channel in self.channels:
            try:
                with spared(log, "digest_broke", channel=channel.channel):
                    await self._due(channel)
            except Unavailable as error:
                log.warning(
                    "digest_waits", extra={"channel": channel.channel, "reason": str(error)}
                )

    async def post(self, channel: DigestChannel, name: str, day: date) -> bool:
        """As `Once.post`."""
        once = Once(owner=self.owner, team=self.team, book=self.book, slack=self.slack)
        return await once.post(channel.channel, name, lambda claim: self._tell(channel, day, claim))

    async def _due(self, channel: DigestChannel) -> None:
        zone = ZoneInfo(channel.zone)
        now = (await self.book.now()).astimezone(zone)
        hour = datetime.combine(now.date(), time.fromisoformat(channel.at), zone)
        name = now.date().isoformat()
        if now < hour or (channel.channel, name) in self._told:
            return
        if not await self.book.closed(channel.channel, name):
            if now < hour + WAIT and await self._unfinished(channel):
                return
            if not await self.post(channel, name, now.date()):
                return  # whoever is at it may die: seen to with the next tick
        self._told.add((channel.channel, name))

    async def _unfinished(self, channel: DigestChannel) -> bool:
        since = await self.book.now() - timedelta(days=1)
        return any(entry.ended_at is None for entry in await self._entries(channel, since))

    async def _tell(self, channel: DigestChannel, day: date, claim: Claim) -> Telling:
        entries = await self._entries(channel, claim.until - _WINDOW)
        told = morning(
            day,
            ZoneInfo(channel.zone),
            entries,
            since=claim.since,
            until=claim.until,
            paused=await self.diary.paused(),
            snoozed=await self.book.snoozed(channel.channel),
        )
        states = await self._states(told)
        lines = _lines(told)
        return Telling(
            show=lambda chart: view.digest(
                told, states, chart=chart, quiet_line=channel.quiet_line
            ),
            draw=(lambda: png(lines)) if told.told and lines else None,
            file=f"digest-{day:%Y-%m-%d}.png",
        )

    async def _entries(self, channel: DigestChannel, since: datetime) -> list[Entry]:
        every = await self.diary.entries(since=since)
        return [entry for entry in every if entry.project in channel.projects]

    async def _states(self, told: Morning) -> dict[RunId, RunState]:
        told_of = [g for each in told.told for g in (*each.groups, *each.errands)]
        runs = {each.run for each in told_of if each.run}
        states: dict[RunId, RunState] = {}
        for run in runs:
            with spared(log, "run_untold", run=run):
                states[run] = fold(await self.store.events(run))
        return states


def _lines(told: Morning) -> list[Series]:
    """Of what there is a line to draw."""
    return [
        Series(name=name, points=points)
        for name, points in (
            ("Open lint findings, last 14 days", trend.findings(told)),
            ("Dependencies behind, last 14 days", trend.behind(told)),
        )
        if len(points) > 1
    ]
