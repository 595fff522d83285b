"""A run whose log cannot be read: a fact of a kind that is known, and in it nothing that is."""

from __future__ import annotations

from agent.adapters.database import Database
from agent.run import RunId


async def spoil(db: Database, run: RunId) -> None:
    await db.pool.execute(
        "INSERT INTO events (run, seq, kind, actor, data, hash)"
        " SELECT $1, max(seq) + 1, 'question_asked', 'worker', '{}', '' FROM events WHERE run = $1",
        run,
    )
