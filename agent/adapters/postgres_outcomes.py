"""Logs of the runs of some weeks, in PostgreSQL: few kinds of facts, and a few runs at a time."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from itertools import groupby

from agent.adapters import store_sql as sql
from agent.adapters.postgres import Pool
from agent.adapters.postgres_retry import retried
from agent.events import RunEvent, kind_of
from agent.guard import spared

_log = logging.getLogger(__name__)

#: Each fact touches its run, so this index has all runs with a fact since then, and few others.
LIVELY = """
SELECT id FROM runs
WHERE updated_at >= $1 AND created_at < $2 AND project = ANY ($3::text[])"""
LOGS = """
SELECT run, seq, at, kind, actor, data, hash FROM events
WHERE run = ANY ($1::bigint[]) AND kind = ANY ($2::text[])
ORDER BY run, seq"""
BATCH = 50  #: runs whose logs are in memory at once


class OutcomeLogs:
    """`bot.weekly.Logs`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def between(
        self,
        since: datetime,
        until: datetime,
        *,
        projects: Collection[str],
        read: Collection[type],
    ) -> AsyncIterator[Sequence[RunEvent]]:
        """The log of each run that something happened to, from its beginning, without the facts
        that are not to be read."""
        rows = await retried(lambda: self._pool.fetch(LIVELY, since, until, list(projects)))
        runs: list[int] = sorted(row["id"] for row in rows)
        kinds = [kind_of(each) for each in read]
        for start in range(0, len(runs), BATCH):
            wanted = runs[start : start + BATCH]
            found = await retried(lambda wanted=wanted: self._pool.fetch(LOGS, wanted, kinds))
            for run, log in groupby(found, key=lambda row: row["run"]):
                events: tuple[RunEvent, ...] = ()
                with spared(_log, "outcome_unread", run=run):
                    events = tuple(event for row in log if (event := sql.event_of(row)))
                if events:
                    yield events
