"""What people press below a digest, and what they ask about nights."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from agent.errors import Refused
from agent.maintenance.diary import Diary
from agent.maintenance.night import Task
from agent.ports import Clock
from agent.run import Request, Thread
from bot.digest import digest_channels
from bot.listeners.desk import where
from bot.once import Digested
from bot.people import People
from bot.records import Json
from bot.runs import Runs
from bot.schedule import fires
from bot.settings import Settings
from bot.slack import Slack
from bot.views import digest as view
from bot.views import nights

_KEPT = timedelta(days=30)  #: a button asks for nights no older than that


@dataclass(frozen=True, kw_only=True)
class NightControls:
    settings: Settings
    slack: Slack
    people: People
    runs: Runs
    diary: Diary
    book: Digested
    clock: Clock

    async def on_fix(self, body: Json) -> None:
        """Starts a run in a thread under the digest, by whoever pressed."""
        at = where(body)
        try:
            pressed, project = view.picked(str(body["actions"][0]["value"]))
        except ValueError as error:
            raise Refused("That button belongs to no night, so nothing was started.") from error
        person = await self.people.person(at.user)
        entries = await self.diary.entries(since=self.clock.now() - _KEPT, project=project)
        reports = [each.report for each in entries if each.id in pressed and each.report]
        text = nights.request(reports)
        if not text:
            raise Refused(f"Nothing of `{project}` is left to fix from that night.")
        entry = self.settings.project(project)
        await self.runs.start(
            Request(
                text=text,
                project=project,
                base_branch=entry.default_branch,
                requester=person,
                thread=Thread(team=at.team, channel=at.channel, ts=at.ts),
                message=f"{at.ts}:{project}",
                plan_only=entry.plan_approval,
            )
        )

    async def on_menu(self, body: Json) -> None:
        kind, _, project = str(body["actions"][0]["selected_option"]["value"]).partition(":")
        at = where(body)
        if kind != "snooze" or not project:
            raise Refused("That menu belongs to no night, so nothing was done.")
        person = await self.people.person(at.user)
        span = timedelta(days=view.SNOOZE_DAYS)
        until = await self.book.snooze(at.channel, project, span, person.id)
        await self.slack.tell(at.channel, at.user, at.thread_ts, nights.snoozed(project, until))

    async def standing(self, channel: str) -> str:
        """What is scheduled for the projects of a channel, and what the last nights came to."""
        told = {p for each in digest_channels(self.settings, channel) for p in each.projects}
        projects = dict.fromkeys((*self.settings.allowed(channel), *sorted(told)))
        paused = await self.diary.paused()
        since = self.clock.now() - _KEPT
        shown: list[nights.Standing] = []
        for project in projects:
            settled = self.settings.project(project).maintenance
            entries = await self.diary.entries(since=since, project=project)
            if not settled.schedule and not entries:
                continue
            following = None
            if settled.schedule:
                following = fires(settled.schedule, settled.zone)(self.clock.now())
            shown.append(
                nights.Standing(
                    project=project,
                    tasks=tuple(Task(task) for task in settled.tasks) if settled.schedule else (),
                    next=following.astimezone(ZoneInfo(settled.zone)) if following else None,
                    last=tuple({entry.task: entry for entry in entries}.values()),
                    paused=tuple(task for named, task in paused if named == project),
                )
            )
        return nights.standing(shown)
