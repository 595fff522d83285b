"""What is left once havoc has ceased: everything comes to rest, and the oracle decides."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from oracle import violations
from oracle.leaks import HOME
from oracle.ledgers import Ledgers, processes_below
from road import Road

from agent.adapters.postgres import CONNECTION_ERRORS
from agent.run import ENDED
from bot.build import sandbox_folder

SETTLE = 60.0  #: seconds for the thread, once nothing else is left to be done
BACKLOG = """
SELECT (SELECT count(*) FROM runs WHERE status <> ALL($1)) AS runs,
    (SELECT count(*) FROM inbox WHERE handled_at IS NULL) AS deliveries,
    (SELECT count(*) FROM intents WHERE outcome_seq IS NULL) AS intents,
    (SELECT count(*) FROM messages WHERE state <> 'posted' AND slot <> 'shown') AS messages
"""
BELOW = {"I8"}  #: asked of each host, once its processes have ended
TOLD = 5  #: runs of which the whole story is told
_RUN = re.compile(r"\brun (\d+)\b|\b(\d+):[a-z_]+:")  # by its number, or the key of an effect


@dataclass(frozen=True, kw_only=True)
class Rest:
    """How long it took until nothing was left to be done, and what was left if it never came."""

    seconds: float
    left: dict[str, int]


async def drained(road: Road, seconds: float) -> Rest:
    """Waits for all runs to end and for all else that is under way."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        await road.slack.delivery.settled()
    left: dict[str, int] = {"unknown": 1}
    while left and time.monotonic() - began < seconds:
        await asyncio.sleep(0.5)
        try:
            row = await road.db.pool.fetchrow(BACKLOG, sorted(ENDED))
        except CONNECTION_ERRORS:
            continue
        left = {name: count for name, count in dict(row).items() if count}
    return Rest(seconds=time.monotonic() - began, left=left)


async def settled(
    road: Road, without: Collection[str], patience: float = SETTLE
) -> tuple[Ledgers, list[str]]:
    """The ledgers and what is wrong with them, once it is as good as it gets."""
    deadline = time.monotonic() + patience
    while True:
        books = await Ledgers.read(road)
        found = violations(books, without)
        if not found or time.monotonic() > deadline:
            return books, found
        await asyncio.sleep(1)


def left_behind(homes: Collection[Path]) -> list[str]:
    """I8, for each host: nothing of the sandbox outlives the service."""
    found: list[str] = []
    for home in homes:
        below = processes_below(str(sandbox_folder(home)))
        found += [f"a process of the sandbox is left: {each}" for each in below]
        found += [f"{each} is none of ours" for each in home.glob("*") if each.name not in HOME]
    return found


def by_status(books: Ledgers) -> Counter[str]:
    return Counter(str(state.status) for state in books.states.values())


def _named(books: Ledgers, told: str) -> list[int]:
    places = [state.request.thread.ts for state in books.states.values()]
    found = [int(m[1] or m[2]) for m in _RUN.finditer(told)]
    return found + [
        run for run, ts in zip(books.states, places, strict=True) if f"ts='{ts}'" in told
    ]


def story(books: Ledgers, found: Collection[str]) -> str:
    """The logs and threads of the first runs that are named in what was found, the rare first."""
    rare = Counter(told.partition(" ")[0] for told in found)
    first = sorted(found, key=lambda told: rare[told.partition(" ")[0]])
    named = dict.fromkeys(run for told in first for run in _named(books, told))
    lines: list[str] = []
    for run in [run for run in named if run in books.states][:TOLD]:
        lines.append(f"Run {run}:")
        lines += [f"  {e.at:%H:%M:%S.%f} {str(e.payload)[:300]}" for e in books.events[run]]
        place = books.states[run].request.thread
        lines += [
            f"  {each.ts} {each.user}: {each.text[:200]}"
            for each in books.messages
            if each.channel == place.channel and place.ts in (each.ts, each.thread_ts)
        ]
    return "\n".join(lines)
