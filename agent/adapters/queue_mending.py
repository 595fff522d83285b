"""What brings back the wake-ups that were lost, ends what always breaks, and tidies the queue."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

import asyncpg

from agent.adapters.postgres import CONNECTION_ERRORS, Pool
from agent.adapters.postgres_broken import WAKE_LOST_EFFECTS, give_up_broken
from agent.adapters.postgres_claim import end_broken
from agent.errors import JourneymanError
from agent.guard import guarded
from agent.run import ACTIVE, ENDED, RunStatus

_log = logging.getLogger(__name__)
_WORKING = [str(status) for status in ACTIVE | {RunStatus.QUEUED}]
_ENDED = [str(status) for status in ENDED]

#: Runs that should be at work but that no job leads to. A run whose effects are still to be
#: carried out is woken by their outcome. Jobs are found by equality, which PostgreSQL can hash:
#: thousands of runs may be parked.
WAKE_LOST_RUNS = """
WITH lost AS (
    SELECT id FROM runs r
    WHERE status = ANY ($1::text[]) AND updated_at < clock_timestamp() - $2::interval
        AND NOT EXISTS (
            SELECT FROM engine.pgqueuer q
            WHERE q.status IN ('queued', 'picked')
                AND starts_with(q.dedupe_key, 'run:')
                AND split_part(q.dedupe_key, ':', 2) = r.id::text)
        AND NOT EXISTS (SELECT FROM intents i WHERE i.run = r.id AND i.outcome_seq IS NULL)
    ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED
), woken AS (
    UPDATE runs SET wake = wake + 1 FROM lost WHERE runs.id = lost.id
    RETURNING runs.id, project, wake, CASE
        WHEN status IN ('watching', 'delivering') THEN 'watch.' ELSE 'run.' END kind,
        CASE WHEN epoch = 0 THEN -least(turn, 2147483647)::integer ELSE 0 END priority
)
INSERT INTO engine.pgqueuer (priority, entrypoint, payload, dedupe_key, status)
SELECT priority, kind || project, convert_to(json_build_object('run', id)::text, 'UTF8'),
    'run:' || id || ':' || wake, 'queued'
FROM woken"""
#: Failed jobs were there to be looked at; a run that ended before its job came needs none.
PRUNE = """
WITH failed AS (
    DELETE FROM engine.pgqueuer WHERE status = 'failed' AND updated < now() - interval '7 days'
), needless AS (
    DELETE FROM engine.pgqueuer q USING runs r
    WHERE q.status = 'queued' AND q.created < now() - interval '1 hour'
        AND r.status = ANY ($1::text[]) AND starts_with(q.dedupe_key, 'run:')
        AND split_part(q.dedupe_key, ':', 2) = r.id::text
)
DELETE FROM engine.pgqueuer_log WHERE created < now() - interval '7 days'"""


async def mended(pool: Pool, patience: timedelta, lease: float) -> int:
    """How many wake-ups were lost for longer than `patience`. A step that breaks stands in the log
    and keeps none of the others from being taken."""
    await _tried(lambda: end_broken(pool))
    await _tried(lambda: give_up_broken(pool, lease))
    runs = await _tried(lambda: pool.execute(WAKE_LOST_RUNS, _WORKING, patience))
    effects = await _tried(lambda: pool.execute(WAKE_LOST_EFFECTS, patience))
    found = _count(runs), _count(effects)
    if any(found):  # nothing should ever be lost
        _log.warning("queue.mended runs=%d effects=%d", *found)
    await _tried(lambda: pool.execute(PRUNE, _ENDED))
    return sum(found)


async def _tried(step: Callable[[], Awaitable[object]]) -> object:
    try:
        with guarded(_log, "queue.mending_broke"):
            try:
                return await step()
            except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
                _log.warning("queue.not_mended error=%r", error)
    except JourneymanError as error:
        _log.warning("queue.not_mended error=%r", error)
    return None


def _count(command: object) -> int:
    """The rows of what PostgreSQL says of an INSERT."""
    return int(command.rsplit(" ", 1)[-1]) if isinstance(command, str) else 0
