"""A night out of turn on the sample projects, and its digest, shown in the terminal."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import ClientSession
from rich.console import Console
from rich.rule import Rule
from rich.text import Text
from slack_sdk.web.async_client import AsyncWebClient

from agent.adapters.database import Database, open_database
from agent.maintenance.diary import Entry
from agent.maintenance.night import Task
from agent.run import ENDED, WAITING
from agent.state import fold
from bot.digest import DigestChannel, Digests
from bot.maintenance import Tell, progress, safe, told
from bot.slack import Slack
from bot.slack_api import SlackApi
from bot.views import pipeline
from playground import seed
from playground.demo_view import message, mrkdwn
from playground.slack.records import Message
from playground.town import Playground

LIMIT_SECONDS = 1200.0
_TASKS = (Task.LINT, Task.DEPENDENCIES)  # those that are on by default
_LOOK = 0.5  # seconds between two looks
_STEP = re.compile(r" night_step night=(\d+) step=(.*)")


async def show_night(playground: Playground, service_home: Path) -> int:
    """Adds a night, waits for it and posts its digest. Returns the exit code."""
    console = Console(highlight=False)
    console.print(f"The same in the browser: {playground.page.url}\n")
    began = datetime.now(UTC)
    try:
        async with asyncio.timeout(LIMIT_SECONDS), AsyncExitStack() as stack:
            db = await stack.enter_async_context(open_database(home=service_home))
            entries = await _nights(playground, db, console)
            await _published(playground, db, entries, console)
            session = await stack.enter_async_context(ClientSession())
            digest = await _digest(playground, db, session)
    except TimeoutError:
        console.print(f"\n[bold red]The night took more than {LIMIT_SECONDS / 60:.0f} minutes.[/]")
        console.print(f"The log of the service: {playground.service.log}")
        return 1
    failed = [e for e in entries if e.report is None or e.report.status == "failed"]
    console.print(Rule("the digest", style="dim"))
    if digest is None:
        console.print("Nothing was new since the last digest, so nothing was posted.")
    else:
        console.print(message(playground.world, digest))
    seconds = (datetime.now(UTC) - began).total_seconds()
    if failed:
        console.print(f"[bold red]{len(failed)} of {len(entries)} tasks failed; see above.[/]")
    else:
        console.print(f"[bold green]The night is over, after {seconds:.0f} s.[/]")
    console.print(f"\nThe page: {playground.page.url}")
    return 1 if failed else 0


async def _nights(playground: Playground, db: Database, console: Console) -> list[Entry]:
    """One after the other, as one process of the service works on them."""
    console.print(f"A night begins on {' and '.join(_projects())}, without any model.")
    told_to = playground.service.log.stat().st_size
    added = [await db.nights.add(project, task) for project in _projects() for task in _TASKS]
    ended: dict[int, Entry] = {}

    with progress(console=console) as tell:

        async def over() -> bool:
            nonlocal told_to
            told_to = _follow(playground.service.log, told_to, tell)
            entries = await db.nights.entries(since=datetime.fromtimestamp(0, UTC))
            for entry in entries:
                if entry.id in added and entry.id not in ended and entry.report:
                    ended[entry.id] = entry
                    _show(entry, console)
            return len(ended) == len(added)

        await _until(playground, over)
    return [ended[number] for number in added]


def _follow(log: Path, since: int, tell: Tell) -> int:
    """Tells what the service does now; gives how far its log was read."""
    with log.open("rb") as file:
        file.seek(since)
        for line in iter(file.readline, b""):
            if not line.endswith(b"\n"):
                break
            since += len(line)
            if step := _STEP.search(line.decode("utf-8", "replace")):
                tell(step[2])
    return since


def _show(entry: Entry, console: Console) -> None:
    assert entry.report is not None
    _, headline, *lines = told(entry.report, dry_run=False)
    console.print(Text.assemble("\n", (f"{entry.project}  ", "bold"), safe(headline)))
    for line in lines:
        console.print(Text(safe(line)), soft_wrap=True)
    console.print()


async def _published(
    playground: Playground, db: Database, entries: Sequence[Entry], console: Console
) -> None:
    """Until the runs that publish what the night changed are over, or wait for people."""
    runs = {g.run for e in entries if e.report for g in e.report.groups if g.run}
    if not runs:
        return
    console.print(f"{len(runs)} changes become merge requests in GitLab, each with a pipeline.")

    async def over() -> bool:
        for run in sorted(runs):
            state = fold(await db.store.events(run))
            if state.status in ENDED | WAITING:
                runs.remove(run)
                where = f"!{state.merge_request.iid} " if state.merge_request else ""
                came = mrkdwn(playground.world, pipeline.phrase(state)) or state.status
                told = f"  {where}{state.request.text}: {came} ({state.request.project})"
                console.print(Text(safe(told)), soft_wrap=True)
        return not runs

    await _until(playground, over)
    console.print()


async def _until(playground: Playground, true: Callable[[], Awaitable[bool]]) -> None:
    """Raises ServiceFailed when the service ends before."""
    failed = asyncio.create_task(playground.service.ended())
    try:
        while not await true():
            await asyncio.wait({failed}, timeout=_LOOK)
            if failed.done():
                failed.result()
    finally:
        failed.cancel()


async def _digest(playground: Playground, db: Database, session: ClientSession) -> Message | None:
    """Posted out of turn, by the same code as in the morning. None: nothing was news."""
    world, now = playground.world, datetime.now(UTC)
    token = next(each.value for each in world.tokens.values() if each.kind == "bot")
    client = AsyncWebClient(token=token, base_url=playground.slack.api_url, session=session)
    channel = DigestChannel(
        channel=world.channel_named(seed.MORNING).id, projects=tuple(_projects())
    )
    digests = Digests(
        owner="demo",
        team=world.team_id,
        channels=[channel],
        diary=db.nights,
        book=db.digests,
        store=db.store,
        slack=Slack(api=SlackApi(client=client), settle=0),
    )
    await asyncio.sleep(3)  # what ended in this very moment would be left to the next digest
    known = set(world.messages)
    await digests.post(channel, f"demo {now:%Y-%m-%d %H:%M:%S}", now.date())
    posted = [m for key, m in world.messages.items() if key not in known]
    return next((m for m in posted if m.channel == channel.channel), None)


def _projects() -> list[str]:
    return [f"{seed.GROUP}/{seed.slug(each)}" for each in seed.NIGHTLY]
