"""Pushes that no index has yet, in PostgreSQL: the process that hears of one is not the one that
indexes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Generator
from contextlib import contextmanager, suppress
from datetime import timedelta

from agent.adapters.postgres import Pool
from agent.adapters.postgres_listener import PUSHES, Listener
from agent.adapters.postgres_retry import retried
from agent.retrieval.pushes import ATTEMPTS, Pushed
from agent.run import CommitSha

_TELL = f"""
WITH told AS (
    INSERT INTO code_pushes AS known (project, commit) VALUES ($1, $2)
    ON CONFLICT (project) DO UPDATE SET commit = excluded.commit, attempts = 0
    WHERE known.commit <> excluded.commit OR known.attempts >= {ATTEMPTS}
    RETURNING project
)
SELECT pg_notify('{PUSHES}', project) FROM told"""
_TAKE = f"""
UPDATE code_pushes SET free_at = clock_timestamp() + $2::interval, attempts = attempts + 1
WHERE project = (
    SELECT project FROM code_pushes
    WHERE project = ANY ($1) AND free_at <= clock_timestamp() AND attempts < {ATTEMPTS}
    ORDER BY free_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING project, commit, attempts"""
_DONE = "DELETE FROM code_pushes WHERE project = $1 AND commit = $2"
#: What was pushed meanwhile; a second statement, since the first one may have waited for it.
_FREE = """
UPDATE code_pushes SET free_at = clock_timestamp(), attempts = 0
WHERE project = $1 AND commit <> $2"""
_LATER = """
UPDATE code_pushes SET free_at = CASE WHEN commit = $2 THEN clock_timestamp() + $3::interval
    ELSE clock_timestamp() END
WHERE project = $1"""
_GIVE_BACK = """
UPDATE code_pushes SET free_at = clock_timestamp(),
    attempts = CASE WHEN commit = $2 THEN greatest(attempts - 1, 0) ELSE attempts END
WHERE project = $1"""


class PushStore:
    """Implements `agent.retrieval.pushes.PushStore`."""

    def __init__(self, pool: Pool, listener: Listener) -> None:
        self._pool = pool
        self._listener = listener

    async def tell(self, project: str, commit: CommitSha) -> None:
        await retried(lambda: self._pool.execute(_TELL, project, commit))

    async def take(self, projects: Collection[str], *, held: float) -> Pushed | None:
        wanted = list(projects), timedelta(seconds=held)
        row = await retried(lambda: self._pool.fetchrow(_TAKE, *wanted))
        if row is None:
            return None
        commit = CommitSha(row["commit"])
        return Pushed(project=row["project"], commit=commit, attempt=int(row["attempts"]))

    async def done(self, pushed: Pushed) -> None:
        await retried(lambda: self._pool.execute(_DONE, pushed.project, pushed.commit))
        await retried(lambda: self._pool.execute(_FREE, pushed.project, pushed.commit))

    async def later(self, pushed: Pushed, seconds: float) -> None:
        about = pushed.project, pushed.commit, timedelta(seconds=seconds)
        await retried(lambda: self._pool.execute(_LATER, *about))

    async def give_back(self, pushed: Pushed) -> None:
        await retried(lambda: self._pool.execute(_GIVE_BACK, pushed.project, pushed.commit))

    @contextmanager
    def told(self) -> Generator[Callable[[float], Awaitable[None]]]:
        with self._listener.subscribed(PUSHES) as pushes:

            async def wait(seconds: float) -> None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await pushes.take()

            yield wait
