"""One run in memory, with the store's promises about order, epochs, states and intents."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import Any

from gate_bench import PATH, Ahead

from agent.errors import Conflict, Fenced
from agent.events import GateOpened, Payload, RunAccepted, RunEnded, RunEvent, StatusChanged
from agent.gate import GateId
from agent.intents import Intent
from agent.ports import MergeRequest, Write
from agent.run import (
    ENDED,
    TRANSITIONS,
    WAITING,
    CommitSha,
    Limits,
    Request,
    Run,
    RunId,
    RunStatus,
)
from agent.testing import FakeForge

ONE = RunId(1)

#: What somebody else does right before a call of this name.
Meddling = tuple[str, Callable[[], Awaitable[None]]]


class Meddler:
    """Lets somebody else act between what one has read and what one does then."""

    def __init__(self) -> None:
        self.waiting: Meddling | None = None

    async def at(self, point: str) -> None:
        await asyncio.sleep(0)
        if self.waiting is not None and self.waiting[0] == point:
            _, acts = self.waiting
            self.waiting = None
            await acts()


class Log:
    """Writes are one step, as a transaction is; between two calls anything may happen."""

    def __init__(self) -> None:
        self.log: list[RunEvent] = []
        self.clock = Ahead()
        self.meddler = Meddler()
        self.intents: dict[str, Intent] = {}
        self.settled: set[str] = set()
        self.row: Run | None = None
        self.before = 0  #: length of the log before the newest write
        self.others = 0  #: runs that were begun beside this one

    @property
    def run_row(self) -> Run:
        assert self.row is not None
        return replace(self.row, seq=len(self.log))

    async def create(
        self, key: str, request: Request, limits: Limits, **_: object
    ) -> tuple[Run, bool]:
        if self.row is not None:
            self.others += 1
            return replace(self.row, id=RunId(1 + self.others), request=request), True
        now = self.clock.now()
        queued = RunStatus.QUEUED
        self.row = Run(id=ONE, request=request, status=queued, created_at=now, updated_at=now)
        self._add(RunAccepted(request=request, limits=limits))
        return self.row, True

    async def claim(self, run: RunId, worker: str) -> Run | None:
        await self.meddler.at("claim")
        if self.run_row.status in ENDED | WAITING:
            return None
        self.row = replace(self.run_row, epoch=self.run_row.epoch + 1)
        return self.row

    async def run(self, run: RunId) -> Run:
        return self.run_row

    async def runs(self, **_: object) -> list[Run]:
        return []

    async def free_places(self, **_: object) -> None:
        return None

    async def events(self, run: RunId, *, after: int = 0) -> list[RunEvent]:
        await self.meddler.at("events")
        return self.log[after:]

    async def frozen(self, project: str) -> None:
        return None

    async def heed_freeze(self, run: RunId, *, epoch: int | None = None) -> None:
        await self.meddler.at("heed_freeze")

    async def hint(self, run: RunId) -> bool:
        return True

    async def run_of_gate(self, gate: GateId) -> RunId | None:
        opened = (e.payload for e in self.log)
        found = any(isinstance(p, GateOpened) and p.gate.id == gate for p in opened)
        return ONE if found else None

    async def pending_intents(self, run: RunId) -> list[tuple[str, Intent]]:
        return [(k, i) for k, i in self.intents.items() if k not in self.settled]

    async def settle(self, run: RunId, key: str, payload: Payload, *, wake: bool) -> None:
        await self.meddler.at("settle")
        if key not in self.settled:
            self.settled.add(key)
            self._add(payload)

    async def ask_stop(self, run: RunId, payload: Payload, *, actor: str) -> Run:
        """Whoever works on it is cancelled there and then, which is as if it ended at once."""
        self._add(payload)
        return self._append(Write(payloads=(RunEnded(status=RunStatus.CANCELLED),)))

    async def write(
        self,
        run: RunId,
        write: Write,
        *,
        actor: str,
        epoch: int | None = None,
        expect: Collection[RunStatus] | None = None,
        expect_seq: int | None = None,
        intent: str = "",
    ) -> Run:
        await self.meddler.at("write")
        if intent in self.settled:
            raise Fenced("Another process has carried it out.")
        if epoch is not None and epoch != self.run_row.epoch:
            raise Fenced("Another worker has it.")
        if expect is not None and self.run_row.status not in expect:
            raise Conflict("It is another status by now.")
        if expect_seq not in (None, len(self.log)):
            raise Conflict("Something else happened.")
        return self._append(write)

    async def append(
        self, run: RunId, write: Write, *, actor: str, epoch: int | None = None
    ) -> tuple[Run, list[RunEvent]]:
        row = await self.write(run, write, actor=actor, epoch=epoch)
        return row, self.log[self.before :]

    def _append(self, write: Write) -> Run:
        payloads, status = [*write.payloads], self.run_row.status
        told = any(isinstance(p, StatusChanged | RunEnded) for p in payloads)
        if not told and write.status not in (None, status):
            payloads.append(StatusChanged(status=write.status))
        for payload in payloads:
            if isinstance(payload, StatusChanged | RunEnded):
                if payload.status not in TRANSITIONS[status]:
                    raise Conflict(f"{status} cannot become {payload.status}.")
                status = payload.status
        self.row, self.before = replace(self.run_row, status=status), len(self.log)
        for payload in payloads:
            self._add(payload)
        for intent in write.intents:
            self.intents.setdefault(intent.key(ONE), intent)
        return self.row

    def _add(self, payload: Payload) -> None:
        seq, now = len(self.log) + 1, self.clock.now()
        self.log.append(RunEvent(run=ONE, seq=seq, at=now, actor="test", payload=payload, hash=""))


class Forge(FakeForge):
    """Somebody may act before each answer; every merge is witnessed as it happens."""

    meddler: Meddler
    witness: Callable[[MergeRequest], None]

    async def merge_request(self, project: str, iid: int) -> MergeRequest:
        await self.meddler.at("merge_request")
        return await super().merge_request(project, iid)

    async def difference(self, project: str, iid: int) -> bytes:
        await self.meddler.at("difference")
        return await super().difference(project, iid)

    async def pipelines(self, project: str, *, sha: CommitSha) -> Any:
        await self.meddler.at("pipelines")
        return await super().pipelines(project, sha=sha)

    async def access(self, project: str, user_id: int) -> int:
        found = await super().access(project, user_id)
        await self.meddler.at("access")
        return found

    async def merge(self, project: str, iid: int, commit: CommitSha) -> MergeRequest:
        await self.meddler.at("merge")
        return await super().merge(project, iid, commit)

    def land(self, iid: int) -> MergeRequest:
        self.witness(self.wanted(iid))
        return super().land(iid)


class Heads:
    """The vault, as far as a delivery asks it."""

    def __init__(self, forge: FakeForge) -> None:
        self._forge = forge

    async def remote_head(self, origin: object, branch: str) -> CommitSha | None:
        return self._forge.branches.get(branch)


def database(log: Log) -> Any:
    class Database:
        store = log

    return Database()


__all__ = ["ONE", "PATH", "Forge", "Heads", "Log", "Meddler", "database"]
