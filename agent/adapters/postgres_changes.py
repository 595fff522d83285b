"""Past changes of a project in PostgreSQL: its commits, and the merge requests that were merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from agent.adapters.postgres import Connection, Row
from agent.retrieval.history import Change
from agent.run import CommitSha

#: What a shallow clone told of a commit, its time alone, gives way to what its past tells.
_REMEMBER = """
INSERT INTO code_changes AS known (project, id, at, title, paths) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (project, id) DO UPDATE SET paths = excluded.paths
WHERE known.paths = '{}' AND excluded.paths <> '{}'"""
#: Nothing is earlier than a commit of an unknown time.
_CHANGES = """
SELECT id, at, title, paths, commits FROM code_changes WHERE project = $1 AND at <= (
    SELECT CASE WHEN $3::text IS NULL THEN 'infinity' ELSE (
        SELECT at FROM code_changes WHERE project = $1 AND id = $3) END)
AND (commits = '{}' OR paths <> '{}') ORDER BY at DESC LIMIT $2"""
_FORGET = "DELETE FROM code_changes WHERE project = $1"
_FORGET_READ = "DELETE FROM code_merges_read WHERE project = $1"


async def remember(db: Connection, project: str, changes: Sequence[Change]) -> None:
    rows = [(project, c.id, c.at, clean(c.title), [clean(p) for p in c.paths]) for c in changes]
    await cast("Any", db).executemany(_REMEMBER, rows)


async def changes_of(
    db: Connection, project: str, most: int, until: CommitSha | None
) -> Sequence[Change]:
    return [change(row) for row in await db.fetch(_CHANGES, project, most, until)]


async def forget(db: Connection, project: str) -> None:
    await db.execute(_FORGET, project)
    await db.execute(_FORGET_READ, project)


def change(row: Row) -> Change:
    return Change(
        id=row["id"],
        at=row["at"],
        title=row["title"],
        paths=tuple(row["paths"]),
        commits=tuple(row["commits"]),
    )


def clean(text: str) -> str:
    """PostgreSQL takes neither NUL nor half a surrogate pair."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()
