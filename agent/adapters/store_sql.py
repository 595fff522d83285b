"""The statements of the store, and what their rows mean."""

from __future__ import annotations

from agent.adapters import event_codec as codec
from agent.adapters.postgres import Connection, Row
from agent.events import Payload, RunEvent, StopAsked
from agent.run import ENDED, Run, RunId, RunStatus, Thread

_RUN = "id, status, epoch, cancel, request, limits, head_seq, created_at, updated_at"
_HEAD = "project, owner, wake, turn, min_code, frozen, head_hash"

RUN = f"SELECT {_RUN} FROM runs WHERE id = $1"
RUN_OF_KEY = f"SELECT {_RUN} FROM runs WHERE key = $1"
RUNS_OF_THREAD = f"""
SELECT {_RUN} FROM runs WHERE team = $1 AND channel = $2 AND thread_ts = $3
ORDER BY id DESC LIMIT $4"""
#: Until the transaction ends, nobody else begins a run in the thread.
LOCK_THREAD = "SELECT pg_advisory_xact_lock(hashtextextended($1 || ':' || $2 || ':' || $3, 0))"
OPEN_IN_THREAD = f"""
SELECT {_RUN} FROM runs
WHERE team = $1 AND channel = $2 AND thread_ts = $3 AND status <> ALL ($4) AND id > $5
ORDER BY id DESC LIMIT 1"""
#: Reads the unique index that the schema has on exactly this expression.
RUN_OF_GATE = """
SELECT run FROM events WHERE kind = 'gate_opened' AND data -> 'gate' ->> 'id' = $1"""
RUNS = f"""
SELECT {_RUN} FROM runs
WHERE ($1::text[] IS NULL OR status = ANY ($1)) AND ($2::text IS NULL OR project = $2)
ORDER BY id DESC LIMIT $3"""
#: Runs that whoever shows them may have missed something of. Not those whose thread is in step:
#: thousands may be waiting.
CURRENT_RUNS = """
SELECT id FROM runs r LEFT JOIN messages m ON m.run = r.id AND m.slot = 'shown'
WHERE (NOT status = ANY ($1::text[]) OR r.updated_at > clock_timestamp() - interval '1 day')
    AND coalesce(m.version, 0) < r.head_seq
ORDER BY id"""
LOCK_RUN = f"SELECT {_RUN}, {_HEAD} FROM runs WHERE id = $1 FOR UPDATE"
#: Its turn comes after those of its channel that wait, and at once where none does.
CREATE_RUN = f"""
INSERT INTO runs (key, team, channel, thread_ts, message_ts, project, status, request, limits,
                  min_code, turn)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1 + greatest(
    (SELECT turn FROM fleet),
    (SELECT max(turn) FROM runs WHERE team = $2 AND channel = $3 AND status = 'queued')))
ON CONFLICT (key) DO NOTHING RETURNING {_RUN}, {_HEAD}"""
MARK = "SELECT mark FROM installation"
STOP_SAID = """
SELECT true FROM events WHERE run = $1 AND kind = 'stop_asked' AND data ->> 'message' = $2"""
ADD_PROJECT = "INSERT INTO projects (id) VALUES ($1) ON CONFLICT DO NOTHING"
SET_PROJECT = """
INSERT INTO projects (id, max_runs) VALUES ($1, $2)
ON CONFLICT (id) DO UPDATE SET max_runs = EXCLUDED.max_runs"""

#: All that a transaction adds to a run. `RETURNING` comes last, so that the notification is
#: part of it.
APPEND = f"""
WITH stored AS (
    INSERT INTO bodies (run, sha256, size, data)
    SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::bytea[])
    ON CONFLICT DO NOTHING
), appended AS (
    INSERT INTO events (run, seq, kind, actor, data, hash)
    SELECT $1, seq, kind, $5, data::json, hash
    FROM unnest($6::bigint[], $7::text[], $8::text[], $9::text[]) AS e (seq, kind, data, hash)
    RETURNING seq, at
), intended AS (
    INSERT INTO intents (run, key, kind, data)
    SELECT $1, key, kind, data::json
    FROM unnest($10::text[], $11::text[], $12::text[]) WITH ORDINALITY AS i (key, kind, data, n)
    ORDER BY n
    ON CONFLICT DO NOTHING
)
UPDATE runs SET status = $13, cancel = $14, epoch = $15, owner = $16, wake = $17,
    head_seq = $18, head_hash = $19, min_code = $21, updated_at = clock_timestamp()
WHERE id = $1
RETURNING {_RUN}, ARRAY(SELECT at FROM appended ORDER BY seq) AS times,
    pg_notify('journeyman_runs', id::text),
    CASE WHEN $20 THEN pg_notify('journeyman_stops', id::text) END"""

#: What PgQueuer's own enqueue does, in our transaction and without importing PgQueuer.
ENQUEUE = """
WITH added AS (
    INSERT INTO engine.pgqueuer (priority, entrypoint, payload, dedupe_key, status, execute_after)
    SELECT $5, entrypoint, convert_to($3, 'UTF8'), dedupe_key, 'queued', now() + $4::interval
    FROM unnest($1::text[], $2::text[]) AS j (entrypoint, dedupe_key)
    ON CONFLICT (dedupe_key) WHERE (
        (status = ANY (ARRAY['queued'::engine.pgqueuer_status, 'picked'::engine.pgqueuer_status]))
        AND (dedupe_key IS NOT NULL)
    ) DO NOTHING
    RETURNING id, entrypoint, priority
)
INSERT INTO engine.pgqueuer_log (job_id, status, entrypoint, priority)
SELECT id, 'queued', entrypoint, priority FROM added"""
#: As the queue's own trigger tells workers of what was added.
NOTIFY_WORKERS = """pg_notify('ch_engine', json_build_object('channel', 'ch_engine', 'operation',
    'update', 'sent_at', now(), 'table', 'pgqueuer', 'type', 'table_changed_event')::text)"""
#: A run that parks again has one later wake-up, not one more.
UNPARK = """
DELETE FROM engine.pgqueuer
WHERE status = 'queued' AND execute_after > now() AND starts_with(dedupe_key, $1)"""
#: Not sooner than a moment after the run was parked: deliveries come in swarms.
HINT = f"""
UPDATE engine.pgqueuer SET updated = now(),
    execute_after = least(execute_after, greatest(now(), created + $2::interval))
WHERE status = 'queued' AND execute_after > now() AND starts_with(dedupe_key, $1)
RETURNING id, {NOTIFY_WORKERS}"""

EVENTS = """
SELECT run, seq, at, kind, actor, data, hash FROM events WHERE run = $1 AND seq > $2
ORDER BY seq"""
EVENT_HASH = "SELECT hash FROM events WHERE run = $1 AND seq = $2"
HEAD = "SELECT head_seq, head_hash FROM runs WHERE id = $1"
BODY = "SELECT data FROM bodies WHERE run = $1 AND sha256 = $2"
CANCEL = "SELECT cancel FROM runs WHERE id = $1"
PENDING_INTENTS = """
SELECT i.key, kind, data, min_code FROM intents i JOIN runs r ON r.id = i.run
WHERE run = $1 AND outcome_seq IS NULL ORDER BY position"""
INTENT_OPEN = "SELECT outcome_seq IS NULL FROM intents WHERE run = $1 AND key = $2"
SETTLE = "UPDATE intents SET outcome_seq = $3 WHERE run = $1 AND key = $2"


def run_of(row: Row) -> Run:
    return Run(
        id=RunId(row["id"]),
        request=codec.request(row["request"]),
        status=RunStatus(row["status"]),
        limits=codec.limits(row["limits"]),
        epoch=row["epoch"],
        cancel=row["cancel"],
        seq=row["head_seq"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def event_of(row: Row) -> RunEvent | None:
    """None for a fact that only a newer version knows."""
    payload = codec.payload(row["kind"], row["data"])
    if payload is None:
        return None
    return RunEvent(
        run=RunId(row["run"]),
        seq=row["seq"],
        at=row["at"],
        actor=row["actor"],
        payload=payload,
        hash=row["hash"],
    )


async def stopped_by(connection: Connection, run: RunId, asked: Payload) -> bool:
    """Whether the same message has stopped it before: it was set going again since."""
    said = asked.message if isinstance(asked, StopAsked) else ""
    return bool(said) and await connection.fetchval(STOP_SAID, run, said) is not None


async def beside(
    connection: Connection, key: str, thread: Thread, after: RunId | None
) -> Run | None:
    """The run, begun later than `after`, that is under way in the thread; of none while `key` has
    its own."""
    place = (thread.team, thread.channel, thread.ts)
    await connection.execute(LOCK_THREAD, *place)
    if await connection.fetchrow(RUN_OF_KEY, key):
        return None
    row = await connection.fetchrow(OPEN_IN_THREAD, *place, list(ENDED), after or 0)
    return run_of(row) if row else None
