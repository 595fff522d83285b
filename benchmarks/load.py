"""Slack at six times its own rate, signed and over HTTP, into a front of its own process: at rest,
and while runs burn the cores and PostgreSQL is restarted."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.adapters.postgres_files import lay_out
from agent.errors import StoreUnavailable
from benchmarks.lag import quantile, read
from benchmarks.scratch import scratch
from benchmarks.script import call
from benchmarks.sender import Sent, send
from benchmarks.table import Row, Table
from benchmarks.takeover import of
from benchmarks.town import PLAN, SECRET, Process, Town, open_town

RATE = 50
SECONDS, QUICK = 60, 10
BURST, FEW = 200, 50  #: in one second, at the end
TWICE = 0.2  #: of all deliveries come a second time
ASKS = 5  #: of so many messages one asks for a run, the others are talk in threads
COMPILES = 4
BURN = call("run", command="timeout 25 sh -c 'while :; do :; done'; true")


@dataclass(frozen=True, kw_only=True)
class Count:
    """What there has to be afterwards, and what there is."""

    messages: int
    asked: int
    stored: int
    handled: int
    runs: int


def load(*, full: bool = False) -> list[Table]:
    seconds, burst = (SECONDS, BURST) if full else (QUICK, FEW)
    with scratch() as folder:
        calm = asyncio.run(_measured(folder, seconds, burst, stress=False))
    with scratch() as folder:
        stressed = asyncio.run(_measured(folder, seconds, burst, stress=True))
    return [calm, stressed]


async def _measured(folder: Path, seconds: int, burst: int, *, stress: bool) -> Table:
    async with open_town(folder, script=(PLAN, BURN), parallel=COMPILES) as town:
        (front,) = await town.up("front")
        port = re.findall(r"pages on http://127.0.0.1:(\d+)", front.log.read_text())[0]
        url = f"http://127.0.0.1:{port}/slack/events"
        bodies, asked = _messages(town, round((seconds * RATE + burst) * (1 - TWICE)))
        due = _due(bodies, seconds, burst)
        await send(url, SECRET, [(0.0, _message(town, "C0WARM", "9.1", "hello"))])
        havoc = await _begin(town, seconds) if stress else None
        before = read(front.lag)
        sent = await send(url, SECRET, due)
        late = read(front.lag, before)
        if havoc:
            await havoc
        count = await _counted(town, len(bodies), asked)
    return _table(sent, count, late, seconds, burst, stress=stress)


def _table(
    sent: Sequence[Sent],
    count: Count,
    late: dict[int, int],
    seconds: int,
    burst: int,
    *,
    stress: bool,
) -> Table:
    took = [each.ms for each in sent]
    refused, dark = sum(each.refused for each in sent), sum(each.unanswered for each in sent)
    title = f"{RATE} Slack deliveries a second for {seconds} s, then {burst} in one second"
    under = f", while {COMPILES} commands burn the cores and PostgreSQL is killed twice"
    return Table(
        title=f"{title}; {TWICE:.0%} come twice{under if stress else ''}",
        rows=[
            Row(
                what="acknowledged, p99",
                value=of(took, 0.99),
                unit="ms",
                limit=1500 if stress else 500,
                baseline="Slack waits 3,000 ms, and sends 8.3 a second",
                note=f"p50 {of(took, 0.5):.1f}; {refused} times refused with 503 and taken when"
                f" sent again; {dark} times without an answer",
            ),
            Row(
                what="acknowledged, the slowest",
                value=max(took),
                unit="ms",
                limit=3000 if stress else 2000,
            ),
            Row(
                what="lost: acknowledged, and not stored or not dealt with",
                value=count.messages - min(count.stored, count.handled),
                unit="messages",
                limit=0,
                note=f"{len(sent)} deliveries of {count.messages} messages, {count.stored} stored,"
                f" {count.handled} dealt with; never acknowledged:"
                f" {sum(not each.acknowledged for each in sent)}",
            ),
            Row(
                what="counted twice, or not at all: requests without exactly one run",
                value=abs(count.runs - count.asked),
                unit="runs",
                limit=0,
                note=f"{count.asked} messages asked for one, there are {count.runs}",
            ),
            Row(
                what="the front's event loop is late, p99",
                value=quantile(late, 0.99),
                unit="ms",
                limit=100,
                note=f"p50 {quantile(late, 0.5)} ms, worst {max(late, default=0)} ms",
            ),
        ],
    )


def _messages(town: Town, count: int) -> tuple[list[str], int]:
    """Bodies of as many different messages, and how many of them ask for a run."""
    channel = town.slack.world.channel_named("billing").id
    us = town.slack.world.app.bot_user
    bodies: list[str] = []
    for number in range(count):
        if number % ASKS == 0:
            root = town.slack.people.post("mia", "billing", f"export number {number}")
            event = {"type": "app_mention", "text": f"<@{us}> export {number}", "ts": root.ts}
            bodies.append(_body(town, channel, event))
        else:
            bodies.append(_message(town, channel, f"1700000000.{number:06}", "I see."))
    return bodies, len(range(0, count, ASKS))


def _message(town: Town, channel: str, ts: str, text: str) -> str:
    event = {"type": "message", "text": text, "ts": ts, "thread_ts": "1600000000.000001"}
    return _body(town, channel, event)


def _body(town: Town, channel: str, event: dict[str, Any]) -> str:
    whole = {**event, "user": "U0MIA", "channel": channel, "channel_type": "channel"}
    team = town.slack.world.team_id
    return json.dumps({"type": "event_callback", "team_id": team, "event": whole})


def _due(bodies: Sequence[str], seconds: int, burst: int) -> list[tuple[float, str]]:
    """In order, each at its time; what comes twice comes again within seconds."""
    chance = random.Random(6)
    total = seconds * RATE + burst
    again = chance.sample(range(len(bodies)), total - len(bodies))
    order = [(float(n), body) for n, body in enumerate(bodies)]
    order += [(n + chance.uniform(0.5, 100), bodies[n]) for n in again]
    deliveries = [body for _, body in sorted(order)]
    steady, last = deliveries[:-burst], deliveries[-burst:]
    due = [(n / RATE, body) for n, body in enumerate(steady)]
    return due + [(seconds + n / burst, body) for n, body in enumerate(last)]


async def _begin(town: Town, seconds: int) -> asyncio.Task[None]:
    """Commands that burn all cores, and two restarts on the way."""
    (worker,) = await town.up("worker")
    runs = [(await town.ask()).id for _ in range(2 * COMPILES)]
    await town.until(runs[0], "tool_started")
    return asyncio.create_task(_restarts(town, worker, seconds))


async def _restarts(town: Town, worker: Process, seconds: int) -> None:
    layout = lay_out(town.folder / "home")
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)  # each lost connection is told there
    how = ("restart", "-m", "immediate", "-w", "-D", str(layout.data), "-l", str(layout.log))
    for _ in range(2):
        await asyncio.sleep(seconds / 3)
        await asyncio.to_thread(layout.run, "pg_ctl", *how)
    await asyncio.sleep(seconds / 3)
    await town.down(worker)


async def _counted(town: Town, messages: int, asked: int) -> Count:
    """Once everything is dealt with, or two minutes later."""
    pool, deadline = town.db.pool, asyncio.get_running_loop().time() + 120
    where = "WHERE source = 'slack' AND key NOT LIKE '%:C0WARM:%'"
    stored = handled = 0
    while asyncio.get_running_loop().time() < deadline:
        with suppress(OSError, StoreUnavailable):
            stored = await pool.fetchval(f"SELECT count(*) FROM inbox {where}")
            left = await pool.fetchval(f"SELECT count(*) FROM inbox {where} AND handled_at IS NULL")
            handled = stored - left
            if handled >= messages:
                break
        await asyncio.sleep(0.5)
    runs = await pool.fetchval("SELECT count(*) FROM runs WHERE channel <> ''")
    return Count(messages=messages, asked=asked, stored=stored, handled=handled, runs=runs)
