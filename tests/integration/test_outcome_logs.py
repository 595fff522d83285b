"""What is read of all the runs in a real PostgreSQL for the figures of a week."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from pastruns import DONE, past_run
from unreadable import spoil

from agent import events as e
from agent.adapters import postgres_outcomes as logs
from agent.adapters.database import Database
from agent.adapters.postgres import Connection
from agent.outcomes import READ
from agent.run import RunId

SINCE, UNTIL = datetime(2020, 10, 18, 22, tzinfo=UTC), datetime(2020, 10, 25, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)
CLAIMED = e.RunClaimed(worker="w", epoch=1)


async def read(db: Database, *projects: str) -> dict[RunId, list[type]]:
    every = db.outcomes.between(SINCE, UNTIL, projects=projects, read=READ)
    return {log[0].run: [type(event.payload) for event in log] async for log in every}


async def test_a_run_is_read_from_its_beginning_when_something_happened_to_it(
    db: Database,
) -> None:
    old = await past_run(db, "g/a", (SINCE - 90 * HOUR, CLAIMED), (SINCE, DONE))
    await past_run(db, "g/a", (SINCE - 90 * HOUR, CLAIMED), (SINCE - HOUR, DONE))
    await past_run(db, "g/a", (UNTIL, CLAIMED), (UNTIL + HOUR, DONE))
    later = await past_run(db, "g/a", (UNTIL - HOUR, CLAIMED), (UNTIL + HOUR, DONE))
    await past_run(db, "g/b", (SINCE, DONE))
    found = await read(db, "g/a")
    assert found == {each: [e.RunAccepted, e.RunEnded] for each in (old, later)}
    assert await read(db) == {}


async def test_a_run_that_cannot_be_read_keeps_no_other_from_being_counted(db: Database) -> None:
    unreadable, other = [await past_run(db, "g/a", (SINCE, DONE)) for _ in range(2)]
    await spoil(db, unreadable)
    assert list(await read(db, "g/a")) == [other]


async def test_a_run_is_whole_also_where_many_are_read(db: Database) -> None:
    made = [await past_run(db, "g/a", (SINCE, DONE)) for _ in range(2 * logs.BATCH + 1)]
    found = await read(db, "g/a", "g/b")
    assert list(found) == sorted(made)
    assert {tuple(kinds) for kinds in found.values()} == {(e.RunAccepted, e.RunEnded)}


async def test_ten_thousand_runs_of_long_ago_are_not_looked_at(
    db: Database, owner: Connection
) -> None:
    lively = await past_run(db, "g/a", (SINCE, DONE))
    await owner.execute(
        """
        INSERT INTO runs (key, team, channel, thread_ts, message_ts, project, status, request,
                          limits, created_at, updated_at)
        SELECT 'old-' || n, team, channel, thread_ts, message_ts, project, status, request,
               limits, created_at - interval '60 days', updated_at - interval '60 days'
        FROM runs, generate_series(1, 10000) AS n WHERE id = $1""",
        lively,
    )
    await owner.execute(
        """
        INSERT INTO events (run, seq, at, kind, actor, data, hash)
        SELECT runs.id, seq, at - interval '60 days', kind, actor, data, hash
        FROM runs, events WHERE events.run = $1 AND runs.id <> $1""",
        lively,
    )
    await owner.execute("ANALYZE runs, events")
    assert list(await read(db, "g/a")) == [lively]
    projects, kinds = ["g/a", "g/b"], ["run_accepted", "run_ended"]
    runs = await plan(db, logs.LIVELY, SINCE, UNTIL, projects)
    assert {node.get("Index Name") for node in runs} - {None} == {"runs_updated"}
    read_ = await plan(db, logs.LOGS, [lively] * logs.BATCH, kinds)
    assert {node.get("Index Name") for node in read_} - {None} == {"events_pkey"}
    for node in (*runs, *read_):
        assert node["Node Type"] != "Seq Scan"
        assert node["Actual Rows"] + node.get("Rows Removed by Filter", 0) <= 2 * logs.BATCH


async def plan(db: Database, query: str, *arguments: Any) -> list[dict[str, Any]]:
    """Every step that PostgreSQL took."""
    told = await db.pool.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *arguments)
    return list(_nodes(json.loads(told)[0]["Plan"]))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for each in node.get("Plans", ()):
        yield from _nodes(each)
