"""Merged merge requests in PostgreSQL, among the changes of their project."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from agent.adapters.postgres_changes import change, clean
from agent.adapters.postgres_code import PostgresCode
from agent.retrieval.history import Change
from agent.retrieval.merges import Merged

_READ = """
INSERT INTO code_merges_read AS known (project, until) VALUES ($1, $2)
ON CONFLICT (project) DO UPDATE SET until = greatest(known.until, excluded.until)"""
_KNOWN = "SELECT id, updated_at FROM code_changes WHERE project = $1 AND id = ANY ($2)"
_KEEP = """
INSERT INTO code_changes AS known (project, id, at, title, paths, commits, updated_at)
VALUES ($1, $2, $3, $4, '{}', $5, $6)
ON CONFLICT (project, id) DO UPDATE SET title = excluded.title, updated_at = excluded.updated_at
WHERE known.updated_at < excluded.updated_at"""
_WAITING = """
SELECT id, at, title, paths, commits FROM code_changes
WHERE project = $1 AND commits <> '{}' AND paths = '{}' ORDER BY at DESC LIMIT $2"""
_LAND = "UPDATE code_changes SET at = $3, paths = $4 WHERE project = $1 AND id = $2"
_DROP = "DELETE FROM code_changes WHERE project = $1 AND id = ANY ($2)"


class PostgresMerges:
    """Implements `agent.retrieval.merges.MergeStore`."""

    def __init__(self, code: PostgresCode) -> None:
        self._code = code

    async def read_until(self, project: str) -> datetime | None:
        query = "SELECT until FROM code_merges_read WHERE project = $1"
        async with self._code.of_project(project) as db:
            return await db.fetchval(query, project)

    async def read(self, project: str, until: datetime) -> None:
        async with self._code.of_project(project) as db:
            await db.execute(_READ, project, until)

    async def unknown(self, project: str, merged: Sequence[Merged]) -> Sequence[Merged]:
        async with self._code.of_project(project) as db:
            rows = await db.fetch(_KNOWN, project, [each.id for each in merged])
        known = {str(row["id"]): row["updated_at"] for row in rows}
        return [m for m in merged if m.id not in known or known[m.id] < m.updated_at]

    async def keep(self, project: str, told: Sequence[tuple[Merged, str]]) -> None:
        rows = [
            (project, m.id, m.merged_at, clean(title), list(m.commits), m.updated_at)
            for m, title in told
        ]
        async with self._code.of_project(project) as db:
            await cast("Any", db).executemany(_KEEP, rows)

    async def waiting(self, project: str, most: int) -> Sequence[Change]:
        async with self._code.of_project(project) as db:
            return [change(row) for row in await db.fetch(_WAITING, project, most)]

    async def land(self, project: str, changes: Sequence[Change]) -> None:
        rows = [(project, c.id, c.at, [clean(p) for p in c.paths]) for c in changes if c.paths]
        async with self._code.of_project(project) as db:
            await cast("Any", db).executemany(_LAND, rows)
            await db.execute(_DROP, project, [c.id for c in changes if not c.paths])
