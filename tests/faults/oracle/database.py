"""What PostgreSQL has of a road."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

from road import Road

from agent.adapters import event_codec as codec
from agent.intents import Intent
from agent.run import RunId

RUNS = "SELECT id, key, team, channel, message_ts, status FROM runs ORDER BY id"
INBOX = "SELECT source, key, handled_at IS NOT NULL AS handled, attempts, error FROM inbox"
INTENTS = "SELECT run, key, kind, data, outcome_seq IS NULL AS open FROM intents"
SLOTS = "SELECT run, slot, channel, ts, state FROM messages WHERE slot <> 'shown'"
JOBS = """
SELECT (convert_from(payload, 'UTF8')::json ->> 'run')::bigint AS run, entrypoint, status::text,
    execute_after <= now() AS due, extract(epoch FROM now() - heartbeat)::float AS silent
FROM engine.pgqueuer WHERE dedupe_key IS NOT NULL"""
NIGHTS = "SELECT project, task, fire_at FROM nights"
EVENT_TEXTS = "SELECT data::text FROM events"
BODIES = "SELECT data FROM bodies"


@dataclass(frozen=True, kw_only=True)
class RunRow:
    id: int
    key: str
    team: str
    channel: str
    message_ts: str
    status: str


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What the inbox has."""

    source: str
    key: str
    handled: bool
    attempts: int = 0
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Meant:
    """An intent of a run."""

    run: int
    key: str
    intent: Intent
    open: bool


@dataclass(frozen=True, kw_only=True)
class SlotRow:
    run: int
    slot: str
    channel: str
    ts: str
    state: str


@dataclass(frozen=True, kw_only=True)
class JobRow:
    run: int | None
    entrypoint: str
    status: str
    due: bool
    silent: float  #: seconds since it was last heard of


async def of_postgres(road: Road) -> dict[str, Any]:
    pool, store = road.db.pool, road.db.store
    runs = [RunRow(**row) for row in await pool.fetch(RUNS)]
    meant: list[Meant] = []
    for row in await pool.fetch(INTENTS):
        intent = codec.intent(row["kind"], row["data"])
        assert intent is not None
        meant.append(Meant(run=row["run"], key=row["key"], intent=intent, open=row["open"]))
    verified = {run.id: await store.verify(RunId(run.id)) for run in runs}
    texts = [row["data"].encode() for row in await pool.fetch(EVENT_TEXTS)]
    bodies = [zlib.decompress(row["data"]) for row in await pool.fetch(BODIES)]
    return {
        "runs": runs,
        "events": {run.id: await store.events(RunId(run.id)) for run in runs},
        "changed": {run: seq for run, seq in verified.items() if seq is not None},
        "inbox": [Delivery(**row) for row in await pool.fetch(INBOX)],
        "intents": meant,
        "slots": [SlotRow(**row) for row in await pool.fetch(SLOTS)],
        "jobs": [JobRow(**row) for row in await pool.fetch(JOBS)],
        "nights": [tuple(row) for row in await pool.fetch(NIGHTS)],
        "stored": [*texts, *bodies],
    }
