"""Effects whose jobs break time and again, before the effect plane could tell of it: they are woken
ever more seldom, then given up and told. What is told counts as any refusal of GitLab does. Nothing
is given up that a process is carrying out: GitLab may have it a moment later."""

from __future__ import annotations

from datetime import timedelta

from agent.adapters import event_codec as codec
from agent.adapters import store_sql as sql
from agent.adapters.postgres import Connection, Pool, Row
from agent.adapters.postgres_append import Append, prepared
from agent.adapters.postgres_claim import DEATHS, LEASE, locked
from agent.adapters.postgres_retry import each_alone, retried, transact
from agent.events import EffectFailed
from agent.intents import KIND
from agent.run import RunId

#: Intents that no job leads to.
WAKE_LOST_EFFECTS = """
INSERT INTO engine.pgqueuer (priority, entrypoint, payload, dedupe_key, status)
SELECT DISTINCT 0, 'effects.' || r.project,
    convert_to(json_build_object('run', run)::text, 'UTF8'),
    'effects:' || run || ':again', 'queued'::engine.pgqueuer_status
FROM intents i JOIN runs r ON r.id = i.run
WHERE outcome_seq IS NULL AND i.created_at < clock_timestamp() - $1::interval
    AND NOT EXISTS (
        SELECT FROM engine.pgqueuer q
        WHERE q.status IN ('queued', 'picked')
            AND starts_with(q.dedupe_key, 'effects:')
            AND split_part(q.dedupe_key, ':', 2) = run::text)
    AND NOT EXISTS (  -- what broke comes ever more seldom
        SELECT FROM (
            SELECT count(*) AS times, max(updated) AS last FROM engine.pgqueuer q
            WHERE q.status = 'failed' AND starts_with(q.dedupe_key, 'effects:')
                AND split_part(q.dedupe_key, ':', 2) = run::text
                AND q.updated > i.created_at
        ) AS broke
        WHERE last > clock_timestamp() - $1::interval * power(2, least(times, 6) - 1))
ON CONFLICT DO NOTHING"""
#: Since the last word about an effect, or since people set the run going again.
_NEWS = """
coalesce((
    SELECT at FROM events WHERE run = {run}
        AND kind IN ('effect_intended', 'effect_done', 'effect_failed', 'status_changed')
    ORDER BY seq DESC LIMIT 1
), '-infinity')"""
#: Jobs are held when they break.
BROKEN = f"""
SELECT id FROM runs JOIN (
    SELECT split_part(dedupe_key, ':', 2)::bigint AS run, array_agg(updated) AS times
    FROM engine.pgqueuer WHERE status = 'failed' AND starts_with(dedupe_key, 'effects:')
    GROUP BY 1 HAVING count(*) >= $1
) AS held ON held.run = runs.id
WHERE runs.id = coalesce($2, runs.id)
    AND EXISTS (SELECT FROM intents i WHERE i.run = runs.id AND i.outcome_seq IS NULL)
    AND $1 <= (SELECT count(*) FROM unnest(times) AS t WHERE t > {_NEWS.format(run="runs.id")})
ORDER BY id"""
#: They are logged each time that somebody takes them: who dies of one has never handed it back.
TAKEN = f"""
SELECT count(*) FROM engine.pgqueuer_log
WHERE job_id = $2 AND status = 'picked' AND created > {_NEWS.format(run="$1")}
    AND id > (SELECT coalesce(max(id), 0) FROM engine.pgqueuer_log
        WHERE job_id = $2 AND status = 'queued')"""
#: While they are locked nobody takes one of them. Gives those at work.
LOCK_JOBS = """
WITH jobs AS (
    SELECT id, status, heartbeat FROM engine.pgqueuer
    WHERE starts_with(dedupe_key, 'effects:') AND split_part(dedupe_key, ':', 2) = $1::text
    ORDER BY id FOR UPDATE
)
SELECT id FROM jobs
WHERE status = 'picked' AND heartbeat > clock_timestamp() - $2::interval"""
OPEN = "SELECT key, kind, data FROM intents WHERE run = $1 AND outcome_seq IS NULL"


async def give_up_broken(pool: Pool, lease: float = LEASE) -> int:
    """How many runs were told that their effects cannot be made."""

    async def once(run: RunId, connection: Connection) -> bool:
        row = await locked(connection, run)
        if await _at_work(connection, run, lease):
            return False
        if not await connection.fetch(BROKEN, DEATHS, run):  # somebody was quicker
            return False
        return await _give_up(connection, row)

    rows = await retried(lambda: pool.fetch(BROKEN, DEATHS, None))
    return sum(await each_alone(pool, rows, once))


async def give_up_deadly(pool: Pool, run: RunId, job: int, lease: float = LEASE) -> bool:
    """Whether people were told, instead, that processes die of these effects. For who has just
    taken the job, so that nobody else is at it."""
    if await retried(lambda: pool.fetchval(TAKEN, run, job)) <= DEATHS:
        return False

    async def once(connection: Connection) -> bool:
        row = await locked(connection, run)
        if set(await _at_work(connection, run, lease)) - {job}:
            return False
        if await connection.fetchval(TAKEN, run, job) <= DEATHS:
            return False
        return await _give_up(connection, row)

    return await transact(pool, once)


async def _at_work(connection: Connection, run: RunId, lease: float) -> list[int]:
    rows = await connection.fetch(LOCK_JOBS, str(run), timedelta(seconds=lease))
    return [row["id"] for row in rows]


async def _give_up(connection: Connection, row: Row) -> bool:
    run, told = RunId(row["id"]), False
    for each in await connection.fetch(OPEN, run):
        intent = codec.intent(each["kind"], each["data"])
        if intent is None:  # of a newer version, which is asked instead
            continue
        failed = EffectFailed(
            key=each["key"],
            effect=KIND[type(intent)],
            problem=f"It was begun {DEATHS} times, and each time what worked on it broke before it"
            " could say why. What was done before is kept. Have somebody look at the logs of"
            " `effects`, then try again.",
        )
        append = Append(row, await prepared((failed,)), actor="effects")
        append.wake = True
        await append.write(connection)
        await connection.execute(sql.SETTLE, run, each["key"], append.seq)
        row, told = await locked(connection, run), True
    return told
