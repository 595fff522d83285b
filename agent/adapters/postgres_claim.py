"""How a worker takes a run: who may, how many at once, whose turn it is, and when nobody may."""

from __future__ import annotations

from agent.adapters import store_sql as sql
from agent.adapters.postgres import Connection, Pool, Row
from agent.adapters.postgres_append import Append, cancel, prepared
from agent.adapters.postgres_freezes import heed
from agent.adapters.postgres_retry import each_alone, retried
from agent.errors import NotFound, Unavailable
from agent.events import RunClaimed, RunEnded, StatusChanged
from agent.freeze import Freeze
from agent.run import ACTIVE, ENDED, PARKED, WAITING, Run, RunId, RunStatus

#: Seconds after which another worker takes a dead one's jobs. With the look that each worker takes
#: every second, who was killed is replaced within ten.
LEASE = 8.0
_BUSY = 3.0  # seconds until a run that found no place asks again
DEATHS = 5  # in a row, without any progress between

#: Who counts holds the lock: two cannot both take the last place. Who freezes with it loses it.
LOCK_FLEET = """
SELECT max_runs, turn, set_config('idle_in_transaction_session_timeout', '2s', true)
FROM fleet FOR UPDATE"""
#: Runs that a worker holds.
HELD = (
    "SELECT count(*) FROM runs WHERE status = ANY ($1::text[]) AND owner IS NOT NULL AND id <> $2"
)
_WORKING = [str(status) for status in (ACTIVE | {RunStatus.QUEUED}) - PARKED]
MOST = "SELECT max_runs FROM fleet"
TOO_NEW = (
    "A newer version of me has had this run, so it waits for a worker of that version. "
    "Nothing is lost."
)
NEXT_TURN = "UPDATE fleet SET turn = $1"
_PROGRESS = """
coalesce((
    SELECT at FROM events
    WHERE run = {run} AND kind IN
        ('model_answered', 'tool_returned', 'committed', 'effect_done', 'run_ended')
    ORDER BY seq DESC LIMIT 1
), '-infinity')"""
#: Whether people were told so since the run got anywhere.
TOLD = f"""
SELECT EXISTS (
    SELECT FROM events WHERE run = $1 AND kind = 'status_changed' AND data ->> 'reason' = $2
        AND at > {_PROGRESS.format(run="$1")})"""
#: How often the run's job was taken since the run got anywhere, or since it was handed back.
TAKEN = f"""
SELECT count(*) FROM engine.pgqueuer q JOIN engine.pgqueuer_log l ON l.job_id = q.id
WHERE q.dedupe_key = $2 AND q.status IN ('queued', 'picked') AND l.status = 'picked'
    AND l.created > {_PROGRESS.format(run="$1")}
    AND l.id > (SELECT coalesce(max(id), 0) FROM engine.pgqueuer_log
        WHERE job_id = q.id AND status = 'queued')"""
#: Runs whose jobs broke on the way time and again, and are kept to be looked at.
BROKEN = f"""
SELECT id FROM runs JOIN (
    SELECT split_part(dedupe_key, ':', 2)::bigint AS run, array_agg(updated) AS times
    FROM engine.pgqueuer WHERE status = 'failed' AND starts_with(dedupe_key, 'run:')
    GROUP BY 1 HAVING count(*) >= $1
) AS held ON held.run = runs.id
WHERE NOT status = ANY ($2::text[]) AND $1 <= (
    SELECT count(*) FROM unnest(times) AS t WHERE t > {_PROGRESS.format(run="runs.id")})
ORDER BY id"""


async def claim(
    connection: Connection, run: RunId, worker: str, *, fleet: int | None, code: int
) -> Run | Freeze | Unavailable | None:
    """`fleet`: how many runs may be at work at once, unless a person has said so. What is given
    back as `Unavailable` is to be raised once it is committed that people were told."""
    room = await lock_fleet(connection)
    row = await locked(connection, run)
    status = RunStatus(row["status"])
    if status in ENDED | WAITING:
        return None
    if row["cancel"]:
        await cancel(connection, row, None, "worker")
        return None
    if freeze := await heed(connection, row):
        return freeze
    if row["frozen"]:
        row = await locked(connection, run)  # it was told of its thaw
    if row["min_code"] > code:
        await _tell_too_new(connection, row)
        return too_new(run)
    if await connection.fetchval(TAKEN, run, f"run:{run}:{row['wake']}") > DEATHS:
        await _give_up(connection, row)
        return None
    watches = status in PARKED
    if not watches:
        await _admit(connection, row, room["max_runs"] or fleet)
        if row["turn"] > room["turn"]:
            await connection.execute(NEXT_TURN, row["turn"])
    resumed = status in ACTIVE and row["owner"] is not None
    claimed = RunClaimed(worker=worker, epoch=row["epoch"] + 1, resumed=resumed)
    append = Append(row, await prepared(() if watches else (claimed,)), actor="worker")
    append.epoch = claimed.epoch
    append.owner = worker
    append.min_code = max(append.min_code, code)
    return await append.write(connection)


async def end_broken(pool: Pool) -> None:
    """Ends the runs whose jobs break however often they are woken."""
    idle = [str(status) for status in ENDED | WAITING]

    async def once(run: RunId, connection: Connection) -> None:
        row = await locked(connection, run)
        if row["status"] not in idle:
            await _give_up(connection, row)

    rows = await retried(lambda: pool.fetch(BROKEN, DEATHS, idle))
    await each_alone(pool, rows, once)


async def _give_up(connection: Connection, row: Row) -> None:
    told = (
        f"It was begun {DEATHS} times in a row, and each time what worked on it ended before it"
        " got any further, so I stopped trying. What was done before is kept. Have somebody look"
        " at the workers' logs, then try again."
    )
    ended = RunEnded(status=RunStatus.FAILED, reason=told)
    append = Append(row, await prepared((ended,)), actor="worker")
    append.move(None)
    append.epoch += 1
    append.stops = True
    await append.write(connection)


async def lock_fleet(connection: Connection) -> Row:
    row = await connection.fetchrow(LOCK_FLEET)
    assert row is not None
    return row


async def locked(connection: Connection, run: RunId) -> Row:
    row = await connection.fetchrow(sql.LOCK_RUN, run)
    if row is None:
        raise NotFound(f"There is no run {run}.")
    return row


async def free_places(pool: Pool, fleet: int | None, besides: RunId | None) -> int | None:
    """Over all workers; None: as many as anybody has."""
    most = await retried(lambda: pool.fetchval(MOST)) or fleet
    if most is None:
        return None
    return most - await retried(lambda: pool.fetchval(HELD, _WORKING, besides or 0))


async def _tell_too_new(connection: Connection, row: Row) -> None:
    """Once until it gets any further, and only while nobody works on the run."""
    if row["status"] != RunStatus.QUEUED:
        return
    told = StatusChanged(status=RunStatus.QUEUED, reason=TOO_NEW)
    if await connection.fetchval(TOLD, row["id"], TOO_NEW):
        return
    append = Append(row, await prepared((told,)), actor="service")
    append.move(None)
    append.owner = None  # whoever held it has lost the job
    await append.write(connection)


def too_new(run: object) -> Unavailable:
    return Unavailable(f"Run {run} needs a newer worker than this one.", retry_after=_BUSY)


async def _admit(connection: Connection, row: Row, most: int | None) -> None:
    if most is None:
        return
    held = await connection.fetchval(HELD, _WORKING, row["id"])
    if held >= most:
        raise Unavailable(
            f"Run {row['id']} waits: {held} runs are at work, more may not be.", retry_after=_BUSY
        )
