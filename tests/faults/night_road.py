"""Nights of one project between the stand-ins, worked on by the real service."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from road import PROJECT, Road, until

from agent.maintenance.diary import Entry, Schedule
from agent.maintenance.morning import morning
from agent.maintenance.night import Task, TaskReport
from agent.run import ENDED
from agent.state import fold
from bot.views import digest

EARLIER = datetime(2020, 1, 1, tzinfo=UTC)
LINT = Schedule(project=PROJECT, task=Task.LINT, cron="0 2 * * *", zone="UTC")
SETTINGS = f"""[defaults]
test_command = "bash check.sh"
watch_pipeline = false
[projects."{PROJECT}".maintenance]
schedule = "{LINT.cron}"
tasks = ["lint"]
"""


def soon(schedule: Schedule, now: datetime) -> datetime:
    return now


@dataclass(kw_only=True)
class Nightly:
    road: Road
    schedule: Schedule = LINT

    async def due(self) -> bool:
        """One more night, unless the task is paused."""
        before = len(await self.entries())
        while not await self.road.db.nights.tick([self.schedule], soon):
            if await self.road.db.nights.paused():
                return False  # else it was seen for the first time
        return len(await self.entries()) == before + 1

    async def entries(self) -> list[Entry]:
        return list(await self.road.db.nights.entries(since=EARLIER))

    async def over(self, nights: int = 1) -> list[TaskReport]:
        """The reports of so many nights, as soon as they are over and their runs as well."""

        async def so() -> bool:
            ended = [each for each in await self.entries() if each.ended_at]
            runs = await self.road.db.store.runs(limit=100)
            return len(ended) == nights and all(run.status in ENDED for run in runs)

        await until(so, 90, self.road.story)
        return [each.report for each in await self.entries() if each.report]

    async def work(self, nights: int = 1) -> list[TaskReport]:
        """So many nights, one after the other, by one service."""
        async with self.road.serving():
            for number in range(1, nights + 1):
                assert await self.due()
                await self.over(number)
        return await self.over(nights)

    async def told(self, since: datetime = EARLIER) -> str:
        """All words of the digest about what ended since; empty when there is none."""
        db = self.road.db
        now = datetime.now(UTC) + timedelta(seconds=1)
        paused = await db.nights.paused()
        found = morning(
            now.date(), UTC, await self.entries(), since=since, until=now, paused=paused
        )
        made = [run for each in found.told for run in (*each.groups, *each.errands)]
        runs = {each.run for each in made if each.run}
        states = {run: fold(await db.store.events(run)) for run in runs}
        message = digest.digest(found, states)
        return json.dumps(message.blocks, ensure_ascii=False) if message else ""

    async def untouched(self) -> bool:
        """GitLab has no merge request, and no branch but those that people made."""
        branches = await self.road.git("for-each-ref", "--format=%(refname:short)", "refs/heads")
        return not self.road.merge_requests and set(branches.split()) <= {"main"}
