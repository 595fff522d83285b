"""Which messages stand in a run's thread, so that a restarted presenter edits them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum

from agent.adapters.postgres import Pool, Row
from agent.adapters.postgres_lease import Hold, alone
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
SELECT run, slot, channel, ts, version, fingerprint, state FROM messages
WHERE run = $1 AND slot <> 'shown'"""
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
WHERE run = $1 AND slot = $2 AND version <= $4"""
#: Of runs that have changed lately; what was begun before that has reached Slack, or never will.
UNDER_WAY = """
SELECT m.run, array_agg(m.slot) AS slots FROM runs r JOIN messages m ON m.run = r.id
WHERE r.updated_at > clock_timestamp() - interval '10 minutes' AND m.state = 'intended'
    AND NOT m.slot = ANY ('{shown,stranded,session}') GROUP BY m.run"""
#: How far everything in the thread is in step. No message of its own.
SHOWN = """
INSERT INTO messages AS m (run, slot, channel, version, fingerprint, state)
VALUES ($1, 'shown', $2, $3, '', 'posted')
ON CONFLICT (run, slot) DO UPDATE SET version = EXCLUDED.version, updated_at = clock_timestamp()
WHERE m.version < EXCLUDED.version"""


class ThreadStore:
    """`reserved`: for the lease, which must not be lost because the other pool is at its end."""

    def __init__(self, pool: Pool, reserved: Pool) -> None:
        self._pool = pool
        self._reserved = reserved

    def alone(self) -> AbstractAsyncContextManager[Hold]:
        """Waits until no other process writes to threads."""
        return alone(self._reserved, "threads")

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
        """After Slack said yes. Nothing where a newer version is under way by now."""
        await retried(lambda: self._pool.execute(POSTED, run, slot, ts, version))

    async def under_way(self) -> Mapping[RunId, frozenset[str]]:
        """What somebody was about to send, and may be sending still."""
        rows = await retried(lambda: self._pool.fetch(UNDER_WAY))
        return {RunId(row["run"]): frozenset(row["slots"]) for row in rows}

    async def shown(self, run: RunId, *, channel: str, version: int) -> None:
        """All of the thread is in step with the log up to there: nobody need look at it before
        the log grows."""
        await retried(lambda: self._pool.execute(SHOWN, run, channel, version))


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
