"""Deliveries as they arrived, each kept before it is acknowledged and handled once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from agent.adapters.postgres import Pool, Row, translated
from agent.adapters.postgres_retry import retried

_ATTEMPTS = 5
_ANSWER = 1.2  # seconds; Slack waits for three, and sends at once again what was refused

#: Marked as tried: whoever accepts it deals with it.
ACCEPT = """
INSERT INTO inbox (source, key, payload, tried_at) VALUES ($1, $2, $3, clock_timestamp())
ON CONFLICT (source, key) DO NOTHING RETURNING id"""
#: Marked as tried at once: another process does not get them before the same time has passed.
UNHANDLED = """
UPDATE inbox SET tried_at = clock_timestamp()
WHERE id IN (
    SELECT id FROM inbox
    WHERE handled_at IS NULL AND attempts < $2
        AND coalesce(tried_at, received_at) < clock_timestamp() - $1::interval
    ORDER BY id LIMIT 50 FOR UPDATE SKIP LOCKED
)
RETURNING id, source, key, payload, received_at, tried_at, attempts"""
#: Each on its own: a process that dies of one has not tried those behind it. Nothing where it was
#: done, or somebody else has it, since it was taken.
BEGUN = """
UPDATE inbox SET attempts = attempts + 1, tried_at = clock_timestamp()
WHERE id = $1 AND handled_at IS NULL AND tried_at = $2 RETURNING id"""
HELD = "UPDATE inbox SET tried_at = clock_timestamp() WHERE id = $1 AND handled_at IS NULL"
#: Those that five have died of; looked at once in a while by one of all processes.
SPENT = """
UPDATE inbox SET tried_at = clock_timestamp()
WHERE id IN (
    SELECT id FROM inbox
    WHERE handled_at IS NULL AND attempts >= $2 AND tried_at < clock_timestamp() - $1::interval
    ORDER BY id LIMIT 50 FOR UPDATE SKIP LOCKED
)
RETURNING id, source, key, payload, received_at, tried_at, attempts"""
GIVEN_UP = """
UPDATE inbox SET handled_at = clock_timestamp(),
    error = format('Given up: %s processes ended while they dealt with it.', attempts)
WHERE id = $1"""
#: Read as text: what people write may be more than PostgreSQL takes out of JSON.
UNFINISHED = """
SELECT id, source, key, payload, received_at, coalesce(tried_at, received_at) AS tried_at, attempts
FROM inbox
WHERE handled_at IS NULL AND source = $1 AND position($2 IN payload::text) > 0
ORDER BY id DESC LIMIT 1000"""
_BACK = "Taken back by the one who asked for it."
TAKE_BACK = """
UPDATE inbox SET handled_at = clock_timestamp(), error = $2
WHERE id = ANY ($1::bigint[]) AND handled_at IS NULL RETURNING id"""
TAKEN_BACK = """
SELECT handled_at IS NOT NULL AND error = $3 FROM inbox WHERE source = $1 AND key = $2"""
HANDLED = "UPDATE inbox SET handled_at = clock_timestamp(), error = '' WHERE id = $1"
#: Whose service was away did not end whoever tried: only those attempts count.
FAILED = """
UPDATE inbox SET error = $2, attempts = greatest(attempts - 1, 0)
WHERE id = $1 AND handled_at IS NULL"""
PRUNE = "DELETE FROM inbox WHERE handled_at < clock_timestamp() - $1::interval"


@dataclass(frozen=True, kw_only=True)
class Delivery:
    id: int
    source: str  #: "slack", "gitlab"
    key: str
    payload: Mapping[str, Any]
    received_at: datetime
    tried_at: datetime  #: when it was given to whoever has it now
    attempts: int  #: processes that began it again and have not told of its end


class Inbox:
    """`reserved`: for what a sender waits for, while the work of all others is under way."""

    def __init__(self, pool: Pool, reserved: Pool) -> None:
        self._pool = pool
        self._reserved = reserved

    async def accept(self, source: str, key: str, payload: Mapping[str, Any]) -> int | None:
        """The id of the stored delivery, None for one that came before. Raises
        `StoreUnavailable` while there is still time to refuse it."""
        text = json.dumps(payload)
        with translated():
            async with asyncio.timeout(_ANSWER):
                return await retried(lambda: self._free().fetchval(ACCEPT, source, key, text))

    def _free(self) -> Pool:
        """In a burst also what nobody else uses: each connection commits one at a time."""
        work = self._pool
        spare = work.get_max_size() - work.get_size() + work.get_idle_size()
        return work if spare > 0 and not self._reserved.get_idle_size() else self._reserved

    async def unhandled(self, older_than: timedelta) -> Sequence[Delivery]:
        """Deliveries that nobody finished in that time, oldest first. Each is given to one
        caller, and no more when five of them died of it."""
        return await self._taken(UNHANDLED, older_than)

    async def begun(self, id: int, tried_at: datetime) -> bool:
        """It is dealt with once more; counted until it is `failed` or `handled`. False: it was
        done meanwhile, or somebody else has it since `tried_at`."""
        return await retried(lambda: self._pool.fetchval(BEGUN, id, tried_at)) is not None

    async def held(self, id: int) -> None:
        """It is still being dealt with: nobody else is given it."""
        await retried(lambda: self._pool.execute(HELD, id))

    async def spent(self, older_than: timedelta) -> Sequence[Delivery]:
        """Deliveries that nobody is given any more, the last one that long ago. Each is given to
        one caller, until it is given up."""
        return await self._taken(SPENT, older_than)

    async def given_up(self, id: int) -> None:
        """Whoever sent it knows. It stays in the table, with why."""
        await retried(lambda: self._pool.execute(GIVEN_UP, id))

    async def _taken(self, query: str, older_than: timedelta) -> Sequence[Delivery]:
        rows = await retried(lambda: self._pool.fetch(query, older_than, _ATTEMPTS))
        return sorted(map(_delivery, rows), key=lambda delivery: delivery.id)

    async def unfinished(self, source: str, naming: str) -> Sequence[Delivery]:
        """Also those that somebody is dealing with, newest first. `naming`: what is in their
        text."""
        rows = await retried(lambda: self._pool.fetch(UNFINISHED, source, naming))
        return [_delivery(row) for row in rows]

    async def take_back(self, ids: Sequence[int]) -> Sequence[int]:
        """Nobody is given these any more. Gives those that nobody had finished."""
        rows = await retried(lambda: self._pool.fetch(TAKE_BACK, list(ids), _BACK))
        return [row["id"] for row in rows]

    async def taken_back(self, source: str, key: str) -> bool:
        return bool(await retried(lambda: self._pool.fetchval(TAKEN_BACK, source, key, _BACK)))

    async def handled(self, id: int) -> None:
        await retried(lambda: self._pool.execute(HANDLED, id))

    async def failed(self, id: int, error: str) -> None:
        """Keeps the delivery for another attempt, with why it is not done yet."""
        await retried(lambda: self._pool.execute(FAILED, id, error))

    async def prune(self, older_than: timedelta) -> None:
        """Removes deliveries that were handled longer ago."""
        await retried(lambda: self._pool.execute(PRUNE, older_than))


def _delivery(row: Row) -> Delivery:
    return Delivery(**{**row, "payload": json.loads(row["payload"])})
