"""How many runs may be at work at once: what a person says while workers run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.adapters.postgres import Pool
from agent.adapters.postgres_retry import retried
from agent.errors import NotFound

FLEET = """
SELECT max_runs AS told, (
    SELECT count(*) FROM engine.pgqueuer
    WHERE status = 'picked' AND starts_with(entrypoint, 'run.')
) AS at_work FROM fleet"""
PROJECTS = """
SELECT id, max_runs, told_max AS told, (
    SELECT count(*) FROM engine.pgqueuer WHERE status = 'picked' AND entrypoint = 'run.' || p.id
) AS at_work FROM projects p ORDER BY id"""
#: Workers look at the limits every second; who waits for a place is told at once.
TELL_FLEET = "UPDATE fleet SET max_runs = $1"
TELL_PROJECT = "UPDATE projects SET told_max = $2 WHERE id = $1 RETURNING id"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """`project` is empty for all of them together; `told` is a person's word, over `default`.
    Nothing in the database knows the default of all together: it is in the workers' settings."""

    project: str
    default: int | None
    told: int | None
    at_work: int


class LimitTable:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def limits(self) -> Sequence[Limit]:
        """Of all together first, then of each project."""
        fleet = await retried(lambda: self._pool.fetch(FLEET))
        projects = await retried(lambda: self._pool.fetch(PROJECTS))
        return [
            *(
                Limit(project="", default=None, told=row["told"], at_work=row["at_work"])
                for row in fleet
            ),
            *(
                Limit(
                    project=row["id"],
                    default=row["max_runs"],
                    told=row["told"],
                    at_work=row["at_work"],
                )
                for row in projects
            ),
        ]

    async def tell(self, most: int | None, *, project: str = "") -> None:
        """None: the default counts again. What is at work already goes on."""
        if not project:
            await retried(lambda: self._pool.execute(TELL_FLEET, most))
        elif not await retried(lambda: self._pool.fetchval(TELL_PROJECT, project, most)):
            raise NotFound(
                f"No run of `{project}` was ever asked for and no worker lists it, so it has no"
                " limit to set. `journeyman limits` shows the projects that have one."
            )
