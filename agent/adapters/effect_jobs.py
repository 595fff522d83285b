"""One job at a time carries out a run's effects. New intents may come with a job of their own while
an earlier one is under way, or waits to try again: each does all that is open then."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from agent.adapters import gitlab_client
from agent.adapters import store_sql as sql
from agent.adapters.postgres import Pool
from agent.adapters.postgres_retry import retried
from agent.errors import Unavailable
from agent.run import RunId

#: Whoever looks is taken already, so that of two that look at the same time one sees the other.
OTHERS = """
SELECT coalesce(bool_or(id < $2 AND status = 'queued'), false) AS to_come,
    coalesce(bool_or(id < $2 AND status = 'picked'), false) AS before,
    coalesce(bool_or(id > $2 AND status = 'picked'), false) AS after
FROM engine.pgqueuer
WHERE starts_with(dedupe_key, $1) AND id <> $2 AND status IN ('queued', 'picked')"""
#: No sooner than when GitLab can be at nothing more of what it was asked then.
WAKE = f"""
UPDATE engine.pgqueuer SET
    execute_after = least(execute_after, greatest(now(), updated + $2::interval))
WHERE status = 'queued' AND execute_after > now() AND starts_with(dedupe_key, $1)
RETURNING id, {sql.NOTIFY_WORKERS}"""
_AFTER_IT = 1.0  # seconds until a later one comes again
_GIVES_WAY = 3.0  # seconds in which a later one that was met has done so
_LOOK = 0.1


async def left_to_another(pool: Pool, run: RunId, job: int) -> bool:
    """Whether an earlier job, which is yet to begin, does it all. Raises `Unavailable` while
    another one is at it, or may still be: its process may be frozen."""
    prefix = f"effects:{run}:"
    deadline = time.monotonic() + _GIVES_WAY
    while True:
        others = await retried(lambda: pool.fetchrow(OTHERS, prefix, job))
        assert others is not None
        if others["before"] or (others["after"] and time.monotonic() > deadline):
            raise Unavailable("Another one carries out what this run wants.", retry_after=_AFTER_IT)
        if not others["after"]:
            break
        # The earlier one stays taken: to give way is no sign of life from one that is deadly.
        await asyncio.sleep(_LOOK)
    if others["to_come"]:
        patience = timedelta(seconds=gitlab_client.LETS_GO)
        await retried(lambda: pool.fetch(WAKE, prefix, patience))
    return others["to_come"]
