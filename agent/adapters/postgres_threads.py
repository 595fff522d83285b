"""Which messages stand in a run's thread, so that a restarted presenter edits them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from agent.adapters.postgres import Connection, Pool, Row, translated
from agent.adapters.postgres_retry import retried
from agent.run import RunId


class SlotState(StrEnum):
    INTENDED = "intended"  # about to be sent; it may stand there already: read back
    POSTED = "posted"


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One message of a thread. `version` is the `seq` of the run's log that it shows."""

    run: RunId
    name: str
    channel: str
    ts: str  #: empty until it was posted
    version: int
    fingerprint: str
    state: SlotState


SLOTS = """
SELECT run, slot, channel, ts, version, fingerprint, state FROM messages WHERE run = $1"""
#: The version never goes back: a slower process loses.
INTEND = """
INSERT INTO messages AS m (run, slot, channel, version, fingerprint, state)
VALUES ($1, $2, $3, $4, $5, 'intended')
ON CONFLICT (run, slot) DO UPDATE SET version = EXCLUDED.version,
    fingerprint = EXCLUDED.fingerprint, state = 'intended', updated_at = clock_timestamp()
WHERE m.version <= EXCLUDED.version
RETURNING run, slot, channel, ts, version, fingerprint, state"""
POSTED = """
UPDATE messages SET ts = $3, state = CASE WHEN version = $4 THEN 'posted' ELSE state END,
    updated_at = clock_timestamp()
WHERE run = $1 AND slot = $2"""


ALONE = "SELECT pg_try_advisory_lock(hashtext('journeyman threads'))"
#: A host that died without a word is noticed within half a minute.
ALIVE = """
SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 4"""
_LOOK = 1.0  # seconds between two looks whether the other one has gone


class ThreadStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def alone(self) -> AsyncGenerator[asyncio.Event]:
        """Waits until no other process is inside. The event is set as soon as that is not sure
        any more."""
        lost = asyncio.Event()

        def tell(_: Connection) -> None:
            lost.set()

        with translated():
            async with self._pool.acquire() as connection:
                try:
                    connection.add_termination_listener(tell)
                    await connection.execute(ALIVE)
                    while True:
                        if await connection.fetchval(ALONE):
                            break
                        await asyncio.sleep(_LOOK)
                    yield lost
                finally:
                    connection.terminate()  # and with it, for certain, what it holds

    async def slots(self, run: RunId) -> Mapping[str, Slot]:
        rows = await retried(lambda: self._pool.fetch(SLOTS, run))
        return {slot.name: slot for slot in map(_slot, rows)}

    async def intend(
        self, run: RunId, slot: str, *, channel: str, version: int, fingerprint: str
    ) -> Slot | None:
        """Before a message is posted or edited. None: a newer version is under way already."""
        row = await retried(
            lambda: self._pool.fetchrow(INTEND, run, slot, channel, version, fingerprint)
        )
        return _slot(row) if row else None

    async def posted(self, run: RunId, slot: str, *, ts: str, version: int) -> None:
        """After Slack said yes."""
        await retried(lambda: self._pool.execute(POSTED, run, slot, ts, version))


def _slot(row: Row) -> Slot:
    return Slot(
        run=RunId(row["run"]),
        name=row["slot"],
        channel=row["channel"],
        ts=row["ts"],
        version=row["version"],
        fingerprint=row["fingerprint"],
        state=SlotState(row["state"]),
    )
