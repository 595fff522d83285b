"""Runs of long ago in the database, each fact at its moment."""

from __future__ import annotations

from datetime import datetime
from itertools import count

from agent import events as e
from agent.adapters import event_codec as codec
from agent.adapters.database import Database
from agent.run import CommitSha, Limits, Person, Request, RunId, RunStatus, Thread

INSERT_RUN = """
INSERT INTO runs (key, team, channel, thread_ts, message_ts, project, status, request, limits,
                  created_at, updated_at)
VALUES ($1, 'T1', $2, '1.0', '1.0', $3, 'succeeded', $4, $5, $6, $7) RETURNING id"""
INSERT_EVENT = """
INSERT INTO events (run, seq, at, kind, actor, data, hash) VALUES ($1, $2, $3, $4, '', $5, '')"""
BEGUN = e.DeliveryBegun(number=1, kind="change", source="agent/1", target="main")
MERGED = e.EffectDone(
    key="m", effect=e.EffectKind.MERGE, result="merged", commit=CommitSha("a" * 40)
)
DONE = e.RunEnded(status=RunStatus.SUCCEEDED)
_keys = count(1)


async def past_run(
    db: Database, project: str, *facts: tuple[datetime, e.Payload], channel: str = "C1"
) -> RunId:
    """It was asked for at the moment of its first fact, if only to be merged at once."""
    request = Request(
        text="add an export",
        project=project,
        base_branch=None,
        requester=Person(id="U1", name="Ann"),
        thread=Thread(team="T1", channel=channel, ts="1.0"),
        message="1.0",
    )
    asked = e.RunAccepted(request=request, limits=Limits())
    every = [(facts[0][0], asked), *facts]
    run = await db.pool.fetchval(
        INSERT_RUN,
        *(f"past-{next(_keys)}", channel, project),
        *(codec.to_json(request), codec.to_json(Limits()), every[0][0], every[-1][0]),
    )
    for seq, (at, payload) in enumerate(every, 1):
        kind = e.kind_of(type(payload))
        await db.pool.execute(INSERT_EVENT, run, seq, at, kind, codec.to_json(payload))
    return RunId(run)
