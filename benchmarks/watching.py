"""Pipelines watched: how soon a thread hears of one, and how often GitLab is asked."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from pathlib import Path

from benchmarks.scratch import scratch
from benchmarks.table import Row, Table, median, spread
from benchmarks.watched import Watched, Watching, open_watching

ROUNDS = 5
RUNS = 100
SETTLING = 20.0  #: seconds until every run has had its first look
SECONDS = 60.0
LOG = b"$ make test\n" + b"test_export.py .\n" * 1000 + b"E   NameError: name 'n' in export.py\n"


def watching() -> list[Table]:
    with scratch() as folder:
        heard = asyncio.run(_heard(folder))
    with scratch() as folder:
        asked = asyncio.run(_asked(folder))
    return [Table(title="Watched pipelines", rows=[*heard, *asked])]


async def _heard(folder: Path) -> list[Row]:
    async with open_watching(folder) as here:
        passes = [await here.add(600.0) for _ in range(ROUNDS)]
        fails = [await here.add(600.0) for _ in range(ROUNDS)]
        for each in (*passes, *fails):
            here.moves(each, "running")
        async with here.serving():
            async with asyncio.timeout(90):  # Slack takes a message a second
                while any(len(_said(here, each)) < 2 for each in (*passes, *fails)):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            await asyncio.sleep(3)
            green = [await _told(here, each, "success") for each in passes]
            red = [await _told(here, each, "failed") for each in fails]
    return [
        Row(
            what=f"from GitLab's webhook to the message in the thread: pipeline {word}",
            value=median(took),
            unit="s",
            limit=1,
            note=spread(took, 2),
        )
        for word, took in (("passed", green), ("failed, with the log triaged", red))
    ]


async def _told(here: Watching, watched: Watched, status: str) -> float:
    """Seconds until the thread says so, below the card."""
    await asyncio.sleep(4)  # the thread before may still have its card edited
    before = _said(here, watched)[1:]
    began = time.monotonic()
    here.moves(watched, status, LOG)
    async with asyncio.timeout(30):
        while _said(here, watched)[1:] == before:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return time.monotonic() - began


def _said(here: Watching, watched: Watched) -> list[str]:
    """The service's messages in the thread, the card first."""
    world, thread = here.slack.world, watched.thread
    us = world.app.bot_user
    return [each.text for each in world.thread(thread.channel, thread.ts) if each.user == us]


async def _asked(folder: Path) -> list[Row]:
    async with open_watching(folder) as here:
        for number in range(RUNS):
            here.moves(await here.add(60 + 15 * number / RUNS), "running")
        due = "UPDATE engine.pgqueuer SET execute_after = execute_after - interval '60 s'"
        await here.database.pool.execute(f"{due} WHERE status = 'queued'")
        async with here.serving():
            await asyncio.sleep(SETTLING)
            since = here.gitlab.state.now()
            await asyncio.sleep(SECONDS)
        requests = _requests(here, since)
    busiest = max(
        sum(start <= each < start + timedelta(seconds=15) for each in requests)
        for start in requests
    )
    return [
        Row(
            what=f"requests to GitLab while {RUNS} runs watch, in the busiest 15 s of a minute",
            value=busiest / 15,
            unit="a second",
            limit=7,
            note=f"{len(requests) / SECONDS:.1f} over the minute: who waits long looks less often",
        )
    ]


def _requests(here: Watching, since: datetime) -> list[datetime]:
    return [
        seen.at
        for seen in here.gitlab.state.requests
        if seen.at >= since and seen.actor == here.agent.username
    ]
