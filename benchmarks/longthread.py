"""A mention at the end of a very long thread, and a run whose card has much to tell."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path

from agent.ports import Write
from agent.run import RunId, RunStatus
from benchmarks.scratch import scratch
from benchmarks.sender import send
from benchmarks.table import Row, Table
from benchmarks.takeover import step
from benchmarks.town import SECRET, Town, open_town

REPLIES = 1000
LONG = 40_000  #: characters of one of them, as many as Slack takes
EDITS = 200
MOST = 50  #: of the replies come with the request


def longthread() -> list[Table]:
    with scratch() as folder:
        return [asyncio.run(_measured(folder))]


async def _measured(folder: Path) -> Table:
    async with open_town(folder) as town:
        (front,) = await town.up("front")
        port = re.findall(r"pages on http://127.0.0.1:(\d+)", front.log.read_text())[0]
        run, seconds = await _mentioned(town, f"http://127.0.0.1:{port}/slack/events")
        request = (await town.db.store.run(run)).request
        await _works(town, run)
        await asyncio.sleep(8)  # the card comes to rest
        posts, busiest = _written(town)
        late = front.late(0.99)
    if len(request.context) != MOST:
        raise SystemExit(f"{len(request.context)} replies came with the request, not {MOST}.")
    return Table(
        title=f"A mention after {REPLIES:,} replies, one of {LONG:,} characters",
        rows=[
            Row(
                what="delivered, until its run is stored with what was said before",
                value=seconds,
                unit="s",
                limit=1,
                note=f"{REPLIES // 200 + 1} pages are read, the last {MOST} replies are kept",
            ),
            Row(
                what=f"messages posted or edited in one second, while {EDITS} steps are written",
                value=busiest,
                limit=2,
                note=f"{posts} in all; Slack allows one post and one edit a second and channel",
            ),
            Row(what="the front's event loop is late, p99", value=late, unit="ms", limit=100),
        ],
    )


async def _mentioned(town: Town, url: str) -> tuple[RunId, float]:
    people, us = town.slack.people, town.slack.world.app.bot_user
    root = people.post("mia", "billing", "The export is wrong.")
    for number in range(REPLIES):
        text = "x" * LONG if number == REPLIES // 2 else f"I see that, too: case {number}."
        people.post("sam", "billing", text, thread_ts=root.ts)
    said = people.post("mia", "billing", f"<@{us}> turn it around", thread_ts=root.ts)
    event = {
        **{"type": "app_mention", "user": "U0MIA", "text": said.text, "channel": said.channel},
        **{"ts": said.ts, "thread_ts": root.ts},
    }
    team = town.slack.world.team_id
    body = json.dumps({"type": "event_callback", "team_id": team, "event": event})
    sent = asyncio.create_task(send(url, SECRET, [(0.0, body)]))
    query = """
        SELECT r.id, extract(epoch FROM r.created_at - i.received_at)::float8 AS seconds
        FROM runs r, inbox i WHERE i.key LIKE '%' || r.message_ts"""
    deadline = time.monotonic() + 60
    while not (row := await town.db.pool.fetchrow(query)):
        if time.monotonic() > deadline:
            raise SystemExit("No run came of the mention.")
        await asyncio.sleep(0.05)
    await sent
    return RunId(row["id"]), row["seconds"]


async def _works(town: Town, run: RunId) -> None:
    """What a worker writes, twenty times a second."""
    store = town.db.store
    mine = await store.claim(run, "bench")
    assert mine is not None
    for status in (RunStatus.PLANNING, RunStatus.WORKING):
        await store.write(run, Write(payloads=(), status=status), actor="worker")
    for number in range(EDITS):
        await store.append(run, step(number), actor="worker", epoch=mine.epoch)
        await asyncio.sleep(0.05)


def _written(town: Town) -> tuple[int, int]:
    """How often, and how often in the busiest second."""
    methods = ("chat.postMessage", "chat.update")
    times = sorted(float(each.at) for each in town.slack.calls if each.method in methods)
    busiest = max(sum(start <= each < start + 1 for each in times) for start in times)
    return len(times), busiest
