"""Effects whose jobs break time and again, before the effect plane could tell of it: they are woken
ever more seldom, then given up and told. What is told counts as any refusal of GitLab does."""

from __future__ import annotations

from agent.adapters import event_codec as codec
from agent.adapters import store_sql as sql
from agent.adapters.postgres import Connection, Pool
from agent.adapters.postgres_append import Append, prepared
from agent.adapters.postgres_claim import DEATHS, locked
from agent.adapters.postgres_retry import transact
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
        ) AS broke
        WHERE last > clock_timestamp() - $1::interval * power(2, least(times, 6) - 1))
ON CONFLICT DO NOTHING"""
#: Since the last word about an effect, or since people set the run going again.
_NEWS = """
coalesce((
    SELECT at FROM events WHERE run = runs.id
        AND kind IN ('effect_intended', 'effect_done', 'effect_failed', 'status_changed')
    ORDER BY seq DESC LIMIT 1
), '-infinity')"""
#: Jobs are held when they break, and logged each time that somebody takes them: who dies of one
#: has never handed it back.
BROKEN = f"""
SELECT id FROM runs JOIN (
    SELECT split_part(q.dedupe_key, ':', 2)::bigint AS run,
        array_agg(l.created) FILTER (WHERE l.status = 'failed') AS broke,
        array_agg(l.created) FILTER (WHERE l.status = 'picked' AND q.status <> 'failed'
            AND l.id > (SELECT coalesce(max(id), 0) FROM engine.pgqueuer_log
                WHERE job_id = q.id AND status = 'queued')) AS taken
    FROM engine.pgqueuer q JOIN engine.pgqueuer_log l ON l.job_id = q.id
    WHERE starts_with(q.dedupe_key, 'effects:') GROUP BY 1
) AS jobs ON jobs.run = runs.id
WHERE EXISTS (SELECT FROM intents i WHERE i.run = runs.id AND i.outcome_seq IS NULL)
    AND ($1 <= (SELECT count(*) FROM unnest(broke) AS t WHERE t > {_NEWS})
        OR $1 < (SELECT count(*) FROM unnest(taken) AS t WHERE t > {_NEWS}))
ORDER BY id"""
OPEN = "SELECT key, kind, data FROM intents WHERE run = $1 AND outcome_seq IS NULL"


async def give_up_broken(pool: Pool) -> int:
    """How many runs were told that their effects cannot be made."""

    async def once(connection: Connection) -> int:
        rows = await connection.fetch(BROKEN, DEATHS)
        return sum([await _give_up(connection, RunId(row["id"])) for row in rows])

    return await transact(pool, once)


async def _give_up(connection: Connection, run: RunId) -> bool:
    row = await locked(connection, run)
    told = False
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
