"""What a transaction adds to a locked run: events in the chain, bodies, intents, wake-ups."""

from __future__ import annotations

import asyncio
import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from agent.adapters import event_codec as codec
from agent.adapters import store_sql as sql
from agent.adapters.postgres import Connection, Row
from agent.errors import Conflict
from agent.events import Payload, RunEnded, RunEvent, StatusChanged, StopAsked, kind_of
from agent.intents import Intent
from agent.run import ACTIVE, ENDED, PARKED, TRANSITIONS, Run, RunId, RunStatus

_LAST = 2**31 - 1  # priorities are integers
_FELT = 128 * 1024  # bytes; compressing more would hold up the event loop


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Everything that can be worked out before the row is locked."""

    payloads: tuple[Payload, ...]
    texts: tuple[str, ...]
    digests: Sequence[str]
    sizes: Sequence[int]
    packed: Sequence[bytes]
    intents: tuple[Intent, ...]


async def prepared(
    payloads: tuple[Payload, ...],
    bodies: tuple[bytes, ...] = (),
    intents: tuple[Intent, ...] = (),
) -> Prepared:
    return Prepared(
        payloads=payloads,
        texts=tuple(codec.to_json(payload) for payload in payloads),
        digests=[hashlib.sha256(body).hexdigest() for body in bodies],
        sizes=[len(body) for body in bodies],
        packed=[await _packed(body) for body in bodies],
        intents=intents,
    )


async def unpacked(data: bytes) -> bytes:
    if len(data) < _FELT:
        return zlib.decompress(data)
    return await asyncio.to_thread(zlib.decompress, data)


async def _packed(body: bytes) -> bytes:
    if len(body) < _FELT:
        return zlib.compress(body, 1)
    return await asyncio.to_thread(zlib.compress, body, 1)


class Append:
    """One addition to a run. What is not set stays as the row has it."""

    def __init__(self, row: Row, prepared: Prepared, *, actor: str) -> None:
        self._row = row
        self._prepared = prepared
        self._actor = actor
        self._payloads = list(prepared.payloads)
        self._texts = list(prepared.texts)
        self.status = RunStatus(row["status"])
        self.epoch: int = row["epoch"]
        self.owner: str | None = row["owner"]
        self.cancel: bool = row["cancel"]
        self.min_code: int = row["min_code"]
        self.stops = False  #: tell who waits for a stop
        self.wake = False
        self.wake_after = 0.0
        self.seq: int = row["head_seq"]
        self.hash: str = row["head_hash"]
        self._appended: Sequence[Row] = ()

    def move(self, wanted: RunStatus | None) -> None:
        """Makes row and log agree on the status; raises `Conflict` where it may not follow."""
        told = [p for p in self._payloads if isinstance(p, (StatusChanged, RunEnded))]
        if told and wanted not in (None, told[-1].status):
            raise ValueError(f"status {wanted} with a payload that says {told[-1].status}")
        for new in [each.status for each in told] or ([wanted] if wanted else []):
            if new is self.status and not told:
                return
            if new not in TRANSITIONS[self.status]:
                raise Conflict(
                    f"Run {self._row['id']} is {self.status} and cannot become {new}; nothing "
                    "was changed."
                )
            if self.status in ENDED:
                self.cancel = False
            if new not in ACTIVE and new is not self.status:
                self.owner = None  # whoever held it lets go
            self.status = new
        if wanted and not told:
            changed = StatusChanged(status=wanted)
            self._payloads.append(changed)
            self._texts.append(codec.to_json(changed))

    async def write(self, connection: Connection) -> Run:
        run = RunId(self._row["id"])
        seqs, kinds, hashes = self._chained(run)
        intents = self._prepared.intents
        if intents:
            self.owner = None  # the effect plane has the run now
        wake = self._row["wake"] + (1 if self.wake or intents else 0)
        row = await connection.fetchrow(
            sql.APPEND,
            run,
            *(self._prepared.digests, self._prepared.sizes, self._prepared.packed),
            *(self._actor, seqs, kinds, self._texts, hashes),
            [intent.key(run) for intent in intents],
            [kind_of(type(intent)) for intent in intents],
            [codec.to_json(intent) for intent in intents],
            *(self.status, self.cancel, self.epoch, self.owner, wake),
            *(self.seq, self.hash, self.stops, self.min_code),
        )
        assert row is not None
        columns = ("seq", "at", "kind", "data", "hash")
        appended = zip(seqs, row["times"], kinds, self._texts, hashes, strict=True)
        of_all = {"run": run, "actor": self._actor}
        self._appended = [of_all | dict(zip(columns, each, strict=True)) for each in appended]
        if wake != self._row["wake"]:
            await self._enqueue(connection, run, wake)
        return sql.run_of(row)

    def events(self) -> Sequence[RunEvent]:
        """What was appended, as whoever reads the log gets it."""
        return [event for row in self._appended if (event := sql.event_of(row))]

    async def stands(self, connection: Connection) -> bool:
        """Whether exactly this addition is in the log; the hash says so."""
        if not self._payloads:
            return False  # nothing tells; a wake-up more does no harm
        found = await connection.fetchval(sql.EVENT_HASH, self._row["id"], self.seq)
        return found == self.hash

    def _chained(self, run: RunId) -> tuple[list[int], list[str], list[str]]:
        first = self.seq + 1
        kinds = [kind_of(type(payload)) for payload in self._payloads]
        hashes: list[str] = []
        for kind, text in zip(kinds, self._texts, strict=True):
            self.seq += 1
            self.hash = codec.event_hash(self.hash, run, self.seq, kind, self._actor, text)
            hashes.append(self.hash)
        return list(range(first, self.seq + 1)), kinds, hashes

    async def _enqueue(self, connection: Connection, run: RunId, wake: int) -> None:
        # who only looks at a pipeline must not wait for its project's runs at work
        kind = "watch" if self.status in PARKED else "run"
        jobs = {f"run:{run}:{wake}": f"{kind}.{self._row['project']}"} if self.wake else {}
        if self._prepared.intents:
            jobs[f"effects:{run}:{wake}"] = f"effects.{self._row['project']}"
        payload = json.dumps({"run": run})
        if self.wake_after:
            await connection.execute(sql.UNPARK, f"run:{run}:")
        later = timedelta(seconds=self.wake_after)
        # what was begun goes on before anything is begun; that in the order of turns
        priority = -min(self._row["turn"], _LAST) if self.epoch == 0 else 0
        queue = (list(jobs.values()), list(jobs), payload, later, priority)
        await connection.execute(sql.ENQUEUE, *queue)


async def cancel(connection: Connection, row: Row, asked: Payload | None, actor: str) -> Run:
    """Ends a run that nobody works on, and fences who might think so."""
    by = f" by @{asked.by.name}" if isinstance(asked, StopAsked) else ""
    why = asked.reason if isinstance(asked, StopAsked) else ""
    ended = RunEnded(status=RunStatus.CANCELLED, reason=why or f"Stopped{by}.")
    payloads = (asked, ended) if asked else (ended,)
    append = Append(row, await prepared(payloads), actor=actor)
    append.move(None)
    append.epoch += 1
    append.cancel = append.stops = True
    return await append.write(connection)
