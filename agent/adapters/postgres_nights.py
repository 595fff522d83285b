"""Nights in PostgreSQL: any number of processes tick and work, each night is done once."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache

from pydantic import TypeAdapter

from agent.adapters.postgres import Connection, Pool, Row
from agent.adapters.postgres_retry import retried, transact
from agent.guard import spared
from agent.maintenance.diary import ATTEMPTS, FAILURES, PATIENCE, After, Due, Entry, Schedule
from agent.maintenance.findings import Findings
from agent.maintenance.night import Task, TaskReport

#: Somebody else who ticks at this moment has the row; the next tick comes soon.
SCHEDULE = """
SELECT cron, zone, next_fire, paused, clock_timestamp() AS now FROM schedules
WHERE project = $1 AND task = $2 FOR UPDATE SKIP LOCKED"""
NOW = "SELECT clock_timestamp()"
FIRST = """
INSERT INTO schedules (project, task, cron, zone, next_fire) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING"""
NEXT = """
UPDATE schedules SET cron = $3, zone = $4, next_fire = $5 WHERE project = $1 AND task = $2"""
COMES = """
INSERT INTO nights (project, task, fire_at) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING RETURNING id"""
ADD = """
WITH lifted AS (UPDATE schedules SET paused = false WHERE project = $1 AND task = $2)
INSERT INTO nights (project, task, fire_at) VALUES ($1, $2, clock_timestamp()) RETURNING id"""
TAKE = """
WITH lifted AS (UPDATE schedules SET paused = false WHERE project = $1 AND task = $2)
INSERT INTO nights (project, task, fire_at, owner, leased_until, attempts, started_at)
VALUES ($1, $2, clock_timestamp(), $3, clock_timestamp() + $4::interval, 1, clock_timestamp())
RETURNING id, project, task, fire_at, attempts"""
CLAIM = f"""
UPDATE nights SET owner = $1, leased_until = clock_timestamp() + $2::interval,
    attempts = attempts + 1, started_at = coalesce(started_at, clock_timestamp())
WHERE id = (
    SELECT id FROM nights WHERE ended_at IS NULL AND attempts < {ATTEMPTS} AND task = ANY ($3)
        AND (leased_until IS NULL OR leased_until < clock_timestamp())
    ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING id, project, task, fire_at, attempts"""
#: Nights that were begun as often as may be: their workers died, or could not store the report.
GIVEN_UP = f"""
SELECT id, task FROM nights WHERE ended_at IS NULL AND attempts >= {ATTEMPTS}
    AND leased_until < clock_timestamp() AND task = ANY ($1) FOR UPDATE SKIP LOCKED"""
RENEW = """
UPDATE nights SET leased_until = clock_timestamp() + $3::interval
WHERE id = $1 AND owner = $2 AND ended_at IS NULL RETURNING 1"""
PUT_OFF = """
UPDATE nights SET leased_until = clock_timestamp() + $3::interval, owner = NULL,
    attempts = attempts - 1
WHERE id = $1 AND owner = $2 AND ended_at IS NULL
    AND started_at > clock_timestamp() - $4::interval
RETURNING 1"""
FINISH = """
UPDATE nights SET ended_at = clock_timestamp(), status = $3, report = $4::json
WHERE id = $1 AND ($2::text IS NULL OR owner = $2) AND ended_at IS NULL
RETURNING project, task"""
LAST = """
SELECT status FROM nights WHERE project = $1 AND task = $2 AND ended_at IS NOT NULL
ORDER BY id DESC LIMIT $3"""
PAUSE = "UPDATE schedules SET paused = true WHERE project = $1 AND task = $2"
ENTRIES = """
SELECT id, project, task, fire_at, ended_at, report FROM nights
WHERE fire_at >= $1 AND ($2::text IS NULL OR project = $2) AND ($3::text IS NULL OR task = $3)
ORDER BY id"""
PAUSED = "SELECT project, task FROM schedules WHERE paused AND task = ANY ($1) ORDER BY 1, 2"
LAST_FINDINGS = "SELECT data FROM findings WHERE project = $1"
KEEP_FINDINGS = """
INSERT INTO findings (project, data) VALUES ($1, $2::json)
ON CONFLICT (project) DO UPDATE SET data = EXCLUDED.data, at = clock_timestamp()"""


#: Others are those of a newer version, which sees to them.
_TASKS = [str(each) for each in Task]
_UNREAD = (
    "What this night reported cannot be read. It is kept; have somebody look at the logs for "
    "`report_unread`."
)
_log = logging.getLogger(__name__)


@cache
def _reports() -> TypeAdapter[TaskReport]:
    return TypeAdapter(TaskReport)


@cache
def _findings() -> TypeAdapter[Findings]:
    return TypeAdapter(Findings)


class NightStore:
    """`agent.maintenance.diary.Diary`, and `FindingStore` beside it."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def tick(self, schedules: Sequence[Schedule], after: After) -> int:
        fired = 0
        for schedule in schedules:

            async def once(connection: Connection, schedule: Schedule = schedule) -> bool:
                return await _fire(connection, schedule, after)

            with spared(_log, "schedule_broke", project=schedule.project, task=schedule.task):
                fired += await transact(self._pool, once)
        return fired

    async def add(self, project: str, task: Task) -> int:
        return await retried(lambda: self._pool.fetchval(ADD, project, task))

    async def take(self, project: str, task: Task, owner: str, lease: timedelta) -> Due:
        row = await retried(lambda: self._pool.fetchrow(TAKE, project, task, owner, lease))
        assert row is not None
        return _due(row)

    async def claim(self, owner: str, lease: timedelta) -> Due | None:
        await transact(self._pool, _give_up)
        row = await retried(lambda: self._pool.fetchrow(CLAIM, owner, lease, _TASKS))
        return None if row is None else _due(row)

    async def renew(self, night: int, owner: str, lease: timedelta) -> bool:
        return bool(await retried(lambda: self._pool.fetchval(RENEW, night, owner, lease)))

    async def put_off(self, night: int, owner: str, pause: timedelta) -> bool:
        values = (night, owner, pause, PATIENCE)
        return bool(await retried(lambda: self._pool.fetchval(PUT_OFF, *values)))

    async def finish(
        self, night: int, owner: str, report: TaskReport, findings: Findings | None = None
    ) -> bool:
        async def once(connection: Connection) -> bool:
            return await _finish(connection, night, owner, report, findings)

        return await transact(self._pool, once)

    async def entries(
        self, *, since: datetime, project: str | None = None, task: Task | None = None
    ) -> Sequence[Entry]:
        rows = await retried(lambda: self._pool.fetch(ENTRIES, since, project, task))
        return [_entry(row) for row in rows if row["task"] in _TASKS]

    async def paused(self) -> Sequence[tuple[str, Task]]:
        rows = await retried(lambda: self._pool.fetch(PAUSED, _TASKS))
        return [(row["project"], Task(row["task"])) for row in rows]

    async def last(self, project: str) -> Findings | None:
        data = await retried(lambda: self._pool.fetchval(LAST_FINDINGS, project))
        return None if data is None else _findings().validate_python(json.loads(data))

    async def keep(self, project: str, findings: Findings) -> None:
        data = _json(findings)
        await retried(lambda: self._pool.execute(KEEP_FINDINGS, project, data))


def _json(findings: Findings) -> str:
    return json.dumps(_findings().dump_python(findings, mode="json"))


async def _fire(connection: Connection, schedule: Schedule, after: After) -> bool:
    key, when = (schedule.project, schedule.task), (schedule.cron, schedule.zone)
    row = await connection.fetchrow(SCHEDULE, *key)
    if row is None:
        now = await connection.fetchval(NOW)
        await connection.execute(FIRST, *key, *when, after(schedule, now))
        return False
    now: datetime = row["now"]
    changed = (row["cron"], row["zone"]) != when
    if not changed and row["next_fire"] > now:
        return False
    fires = not changed and not row["paused"]
    made = fires and await connection.fetchval(COMES, *key, row["next_fire"]) is not None
    await connection.execute(NEXT, *key, *when, after(schedule, now))
    return bool(made)


async def _give_up(connection: Connection) -> None:
    for row in await connection.fetch(GIVEN_UP, _TASKS):
        told = f"The night was begun {ATTEMPTS} times, and did not come to its end."
        report = TaskReport(task=Task(row["task"]), status="failed", problems=(told,))
        await _finish(connection, row["id"], None, report)


async def _finish(
    connection: Connection,
    night: int,
    owner: str | None,
    report: TaskReport,
    findings: Findings | None = None,
) -> bool:
    text = json.dumps(_reports().dump_python(report, mode="json"))
    row = await connection.fetchrow(FINISH, night, owner, report.status, text)
    if row is None:
        return False
    if findings is not None:
        await connection.execute(KEEP_FINDINGS, row["project"], _json(findings))
    last = await connection.fetch(LAST, row["project"], row["task"], FAILURES)
    if len(last) == FAILURES and all(each["status"] == "failed" for each in last):
        await connection.execute(PAUSE, row["project"], row["task"])
    return True


def _due(row: Row) -> Due:
    return Due(
        id=row["id"],
        project=row["project"],
        task=Task(row["task"]),
        fire_at=row["fire_at"],
        attempt=row["attempts"],
    )


def _entry(row: Row) -> Entry:
    return Entry(
        id=row["id"],
        project=row["project"],
        task=Task(row["task"]),
        fire_at=row["fire_at"],
        ended_at=row["ended_at"],
        report=None if row["report"] is None else _report(row),
    )


def _report(row: Row) -> TaskReport:
    report = TaskReport(task=Task(row["task"]), status="failed", problems=(_UNREAD,))
    with spared(_log, "report_unread", night=row["id"]):
        report = _reports().validate_python(json.loads(row["report"]))
    return report
