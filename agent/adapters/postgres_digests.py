"""What channels were told in the morning, in PostgreSQL: each digest by one process, once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.adapters.postgres import Pool
from agent.adapters.postgres_retry import retried

#: A night that ended a moment ago may not be visible yet: the next digest has it. Digests of weeks
#: do not count among those of nights.
CLAIM = """
INSERT INTO digests AS d (channel, name, since, until, owner, leased_until)
VALUES ($1, $2,
    coalesce(
        (SELECT max(until) FROM digests WHERE channel = $1 AND state <> 'intended'
            AND starts_with(name, 'week:') = starts_with($2, 'week:')),
        clock_timestamp() - interval '1 day'
    ),
    clock_timestamp() - interval '2 seconds', $3, clock_timestamp() + $4::interval)
ON CONFLICT (channel, name) DO UPDATE SET owner = EXCLUDED.owner,
    leased_until = EXCLUDED.leased_until, attempts = d.attempts + 1
WHERE d.state = 'intended' AND d.leased_until < clock_timestamp()
RETURNING since, until, attempts"""
CLOSE = """
UPDATE digests SET state = $4, ts = $5
WHERE channel = $1 AND name = $2 AND owner = $3 AND state = 'intended'"""
RELEASE = """
UPDATE digests SET leased_until = clock_timestamp()
WHERE channel = $1 AND name = $2 AND owner = $3 AND state = 'intended'"""
CLOSED = "SELECT 1 FROM digests WHERE channel = $1 AND name = $2 AND state <> 'intended'"
SNOOZE = """
INSERT INTO snoozes (channel, project, until, by)
VALUES ($1, $2, clock_timestamp() + $3::interval, $4)
ON CONFLICT (channel, project) DO UPDATE SET until = EXCLUDED.until, by = EXCLUDED.by
RETURNING until"""
SNOOZED = "SELECT project FROM snoozes WHERE channel = $1 AND until > clock_timestamp()"


@dataclass(frozen=True, kw_only=True)
class DigestClaim:
    """This process alone may post it. `again`: somebody tried before, and it may stand there."""

    since: datetime
    until: datetime
    again: bool


class DigestStore:
    """`bot.digest.Digested`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(
        self, channel: str, name: str, owner: str, lease: timedelta
    ) -> DigestClaim | None:
        """None: it was told, or somebody is at it."""
        row = await retried(lambda: self._pool.fetchrow(CLAIM, channel, name, owner, lease))
        if row is None:
            return None
        return DigestClaim(since=row["since"], until=row["until"], again=row["attempts"] > 1)

    async def close(self, channel: str, name: str, owner: str, state: str, ts: str = "") -> None:
        await retried(lambda: self._pool.execute(CLOSE, channel, name, owner, state, ts))

    async def release(self, channel: str, name: str, owner: str) -> None:
        """It was not posted, and anybody may try again."""
        await retried(lambda: self._pool.execute(RELEASE, channel, name, owner))

    async def closed(self, channel: str, name: str) -> bool:
        return bool(await retried(lambda: self._pool.fetchval(CLOSED, channel, name)))

    async def now(self) -> datetime:
        return await retried(lambda: self._pool.fetchval("SELECT clock_timestamp()"))

    async def snooze(self, channel: str, project: str, span: timedelta, by: str) -> datetime:
        return await retried(lambda: self._pool.fetchval(SNOOZE, channel, project, span, by))

    async def snoozed(self, channel: str) -> frozenset[str]:
        rows = await retried(lambda: self._pool.fetch(SNOOZED, channel))
        return frozenset(row["project"] for row in rows)
