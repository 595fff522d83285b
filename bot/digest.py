"""Posts the digest of the night: for each channel and morning once, whoever of several ticks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from agent.errors import Unavailable
from agent.maintenance.diary import Diary, Entry
from agent.maintenance.morning import DAYS, Morning, morning
from agent.ports import Clock, Store
from agent.run import RunId, Thread
from agent.state import RunState, fold
from bot.chart import Series, png
from bot.settings import Settings
from bot.slack import Slack
from bot.slack_api import SlackRejected
from bot.views import digest as view
from bot.views import trend

log = logging.getLogger("journeyman.digest")

LEASE = timedelta(minutes=10)
_SECONDS = LEASE.total_seconds() / 2  # for one digest, Slack's patience included
WAIT = timedelta(hours=2)  #: for nights that are not over in the morning
_WINDOW = timedelta(days=DAYS + 2)


class Claim(Protocol):
    """`again`: somebody tried before, and it may stand there."""

    @property
    def since(self) -> datetime: ...
    @property
    def until(self) -> datetime: ...
    @property
    def again(self) -> bool: ...


class Digested(Protocol):
    """What channels were told. Raises `StoreUnavailable`."""

    async def claim(
        self, channel: str, name: str, owner: str, lease: timedelta
    ) -> Claim | None: ...
    async def close(
        self, channel: str, name: str, owner: str, state: str, ts: str = ""
    ) -> None: ...
    async def release(self, channel: str, name: str, owner: str) -> None: ...
    async def closed(self, channel: str, name: str) -> bool: ...
    async def snooze(self, channel: str, project: str, span: timedelta, by: str) -> datetime: ...
    async def snoozed(self, channel: str) -> frozenset[str]: ...


@dataclass(frozen=True, kw_only=True)
class DigestChannel:
    """Where nights are told of. `at`: by the clock of `zone`."""

    channel: str
    projects: tuple[str, ...]
    zone: str = "UTC"
    at: str = "07:30"
    quiet_line: bool = False


def digest_channels(settings: Settings, only: str = "") -> tuple[DigestChannel, ...]:
    """Each channel that is told of nights, by what is set for the first of its projects."""
    of: dict[str, list[str]] = {}
    for path in settings.listed_projects:
        entry = settings.project(path)
        channel = entry.maintenance.digest or (*entry.channels, "")[0]
        if entry.maintenance.schedule and channel and only in ("", channel):
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
    clock: Clock
    _told: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    async def tick(self) -> None:
        """Tells every channel whose hour has come."""
        for channel in self.channels:
            try:
                await self._due(channel)
            except Unavailable as error:
                log.warning(
                    "digest_waits", extra={"channel": channel.channel, "reason": str(error)}
                )

    async def post(self, channel: DigestChannel, name: str, day: date) -> bool:
        """The digest of that name. False: it was told before, or somebody is at it. Raises
        `Unavailable`: another process, or a later tick, tries again."""
        claim = await self.book.claim(channel.channel, name, self.owner, LEASE)
        if claim is None:
            return False
        try:
            async with asyncio.timeout(_SECONDS):
                state, ts = await self._tell(channel, name, day, claim)
        except (Unavailable, TimeoutError) as error:
            await self.book.release(channel.channel, name, self.owner)
            raise Unavailable(f"The digest was not posted: {error}") from error
        except SlackRejected as error:
            log.warning("digest_refused", extra={"channel": channel.channel, "code": error.code})
            state, ts = "refused", ""
        await self.book.close(channel.channel, name, self.owner, state, ts)
        log.info("digest", extra={"channel": channel.channel, "name_of": name, "state": state})
        return True

    async def _due(self, channel: DigestChannel) -> None:
        zone = ZoneInfo(channel.zone)
        now = self.clock.now().astimezone(zone)
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
        since = self.clock.now() - timedelta(days=1)
        return any(entry.ended_at is None for entry in await self._entries(channel, since))

    async def _tell(
        self, channel: DigestChannel, name: str, day: date, claim: Claim
    ) -> tuple[str, str]:
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
        message = view.digest(told, states, quiet_line=channel.quiet_line)
        if message is None:
            return "quiet", ""
        mark = (RunId(0), f"digest:{name}")
        place = Thread(team=self.team, channel=channel.channel, ts="")
        if claim.again and (ts := await self.slack.find(place, mark)):
            return "posted", ts
        if told.told and (picture := await self._chart(told)):
            message = view.digest(told, states, chart=picture) or message
        return "posted", await self.slack.post(place, message, mark=mark)

    async def _entries(self, channel: DigestChannel, since: datetime) -> list[Entry]:
        every = await self.diary.entries(since=since)
        return [entry for entry in every if entry.project in channel.projects]

    async def _states(self, told: Morning) -> dict[RunId, RunState]:
        runs = {group.run for each in told.told for group in each.groups if group.run}
        return {run: fold(await self.store.events(run)) for run in runs}

    async def _chart(self, told: Morning) -> str:
        """Slack's id of the picture; empty when there is no line to draw, or no way to send it."""
        lines = [
            Series(name=name, points=points)
            for name, points in (
                ("Open lint findings, last 14 days", trend.findings(told)),
                ("Dependencies behind, last 14 days", trend.behind(told)),
            )
            if len(points) > 1
        ]
        if not lines:
            return ""
        picture = await asyncio.to_thread(png, lines)
        try:
            return await self.slack.upload(f"digest-{told.date:%Y-%m-%d}.png", picture)
        except (Unavailable, SlackRejected) as error:
            log.warning("chart_lost", extra={"reason": str(error)})
            return ""
