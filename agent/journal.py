"""A worker's hold on one run's log: what it reads and everything that it writes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

from agent.events import Payload, RunEvent, StatusChanged
from agent.intents import Intent
from agent.ports import Store, Write
from agent.run import Digest, Limits, Request, Run, RunStatus
from agent.state import RunState, fold, step

ACTOR = "worker"


class Journal:
    """The log so far, folded, and the epoch that every write must still own."""

    def __init__(self, store: Store, run: Run, events: Sequence[RunEvent]) -> None:
        self._store = store
        self._lock = asyncio.Lock()  # the baseline is written while the model works
        self.run = run
        self.events = list(events)
        self.state: RunState = fold(events)

    @classmethod
    async def load(cls, store: Store, run: Run) -> Journal:
        return cls(store, run, await store.events(run.id))

    async def write(
        self,
        *payloads: Payload,
        bodies: Sequence[bytes] = (),
        status: RunStatus | None = None,
        intents: Sequence[Intent] = (),
        wake: bool = False,
        wake_after: float = 0.0,
    ) -> None:
        write = Write(
            payloads=payloads,
            bodies=tuple(bodies),
            status=status,
            intents=tuple(intents),
            wake=wake,
            wake_after=wake_after,
        )
        async with self._lock:
            run = self.run
            self.run, added = await self._store.append(run.id, write, actor=ACTOR, epoch=run.epoch)
            if added and added[0].seq == self.state.seq + 1:
                self._take_in(added)
            else:  # others have written, too
                await self._catch_up()

    async def move(self, status: RunStatus, reason: str = "") -> None:
        await self.write(StatusChanged(status=status, reason=reason))

    async def refresh(self) -> None:
        """Takes in what this worker and others (instructions, effects, stop) have added."""
        async with self._lock:
            await self._catch_up()

    async def _catch_up(self) -> None:
        self._take_in(await self._store.events(self.run.id, after=self.state.seq))

    def _take_in(self, events: Sequence[RunEvent]) -> None:
        for event in events:
            self.events.append(event)
            self.state = step(self.state, event)

    async def pending(self) -> bool:
        """Does the effect plane still have something to do for the run?"""
        return bool(await self._store.pending_intents(self.run.id))

    async def spawn(self, key: str, request: Request, limits: Limits) -> None:
        """Begins another run, once a key."""
        await self._store.create(key, request, limits)

    async def body(self, digest: Digest) -> bytes:
        return await self._store.body(self.run.id, digest)


def digest_of(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())
