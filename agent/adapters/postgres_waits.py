"""Runs that wait for people, by how long they have."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agent.adapters.postgres import Pool
from agent.adapters.postgres_retry import retried
from agent.run import RunId, RunStatus

WAITING = """
SELECT id FROM runs WHERE status = $1 AND created_at < $2 ORDER BY updated_at, id"""


class WaitingRuns:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def waiting(self, status: RunStatus, made_before: datetime) -> Sequence[RunId]:
        """All of them, those first that nothing has happened to for longest."""
        rows = await retried(lambda: self._pool.fetch(WAITING, str(status), made_before))
        return [RunId(row["id"]) for row in rows]
