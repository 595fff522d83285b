"""Rounds in PostgreSQL: when they were made, and which runs they are about."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta

from agent.adapters.postgres import Connection, Pool
from agent.adapters.postgres_lease import Hold, alone
from agent.adapters.postgres_retry import retried, transact
from agent.adapters.store_sql import HINT
from agent.run import ACTIVE, ENDED, WAITING, RunId, Thread

LAST = """
SELECT clock_timestamp() AS now, (SELECT until FROM leases WHERE name = $1) AS last"""
#: A lease on the past: nobody waits for it.
MADE = """
INSERT INTO leases AS l (name, holder, until) VALUES ($1, '', $2)
ON CONFLICT (name) DO UPDATE SET until = greatest(l.until, EXCLUDED.until)"""
#: Each part has an index of its own, and the first run found is enough.
ANY = """
SELECT EXISTS (SELECT FROM runs WHERE updated_at >= $2 AND lower(project) = lower($1))
    OR EXISTS (SELECT FROM runs WHERE status = ANY ($3::text[]) AND lower(project) = lower($1))"""
CHANGED = """
SELECT id FROM runs
WHERE id = ANY ($2::bigint[]) AND lower(project) = lower($1)
    AND (updated_at >= $3 OR NOT status = ANY ($4::text[]))
ORDER BY id"""
#: Those that people look at, the newest first: both parts by an index.
THREADS = """
SELECT id, team, channel, thread_ts FROM (
    (SELECT id, team, channel, thread_ts, updated_at FROM runs
        WHERE updated_at > clock_timestamp() - interval '1 day'
        ORDER BY updated_at DESC LIMIT $2)
    UNION
    (SELECT id, team, channel, thread_ts, updated_at FROM runs
        WHERE status = ANY ($1::text[]) ORDER BY updated_at DESC LIMIT $2)
) r WHERE channel <> '' ORDER BY updated_at DESC LIMIT $2"""
#: Where no job leads to them any more.
QUEUE_EFFECTS = """
INSERT INTO engine.pgqueuer (priority, entrypoint, payload, dedupe_key, status)
SELECT 0, 'effects.' || r.project, convert_to(json_build_object('run', r.id)::text, 'UTF8'),
    'effects:' || r.id || ':again', 'queued'::engine.pgqueuer_status
FROM runs r WHERE r.id = $1
    AND EXISTS (SELECT FROM intents i WHERE i.run = r.id AND i.outcome_seq IS NULL)
    AND NOT EXISTS (
        SELECT FROM engine.pgqueuer q
        WHERE q.status IN ('queued', 'picked')
            AND starts_with(q.dedupe_key, 'effects:' || r.id || ':'))
ON CONFLICT DO NOTHING RETURNING id"""


_STANDING = ACTIVE | WAITING


class RoundStore:
    """`agent.rounds.Rounds`, and what rounds ask for."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def alone(self, name: str) -> AbstractAsyncContextManager[Hold]:
        return alone(self._pool, f"at {name}")

    async def last(self, name: str) -> tuple[datetime | None, datetime]:
        row = await retried(lambda: self._pool.fetchrow(LAST, name))
        assert row is not None
        return row["last"], row["now"]

    async def made(self, name: str, began: datetime) -> None:
        await retried(lambda: self._pool.execute(MADE, name, began))

    async def any(self, project: str, since: datetime) -> bool:
        """Whether any run has changed since then, or has not ended."""
        values = (project, since, [str(each) for each in _STANDING])
        return bool(await retried(lambda: self._pool.fetchval(ANY, *values)))

    async def changed(
        self, project: str, runs: Collection[RunId], since: datetime
    ) -> Sequence[RunId]:
        """Those of them that are the project's, and that have changed since then or go on."""
        values = (project, list(runs), since, [str(each) for each in ENDED])
        rows = await retried(lambda: self._pool.fetch(CHANGED, *values))
        return [RunId(row["id"]) for row in rows]

    async def threads(self, most: int) -> Sequence[tuple[RunId, Thread]]:
        """Of runs that changed during the last day or wait for people; the newest change first."""
        waiting = [str(each) for each in WAITING]
        rows = await retried(lambda: self._pool.fetch(THREADS, waiting, most))
        return [
            (RunId(r["id"]), Thread(team=r["team"], channel=r["channel"], ts=r["thread_ts"]))
            for r in rows
        ]

    async def wake_effects(self, run: RunId) -> bool:
        """What is still to be done outside for it is tried now. False: it is at it."""

        async def once(connection: Connection) -> bool:
            if await connection.fetch(HINT, f"effects:{run}:", timedelta(0)):
                return True
            return bool(await connection.fetch(QUEUE_EFFECTS, run))

        return await transact(self._pool, once)
