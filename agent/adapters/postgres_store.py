"""Runs and their logs in PostgreSQL. Each write is one transaction on the run's locked row."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from agent.adapters import event_codec as codec
from agent.adapters import store_sql as sql
from agent.adapters.postgres import Connection, Pool, Row
from agent.adapters.postgres_append import Append, cancel, prepared, unpacked
from agent.adapters.postgres_claim import claim, free_places, locked, too_new
from agent.adapters.postgres_freezes import FreezeTable
from agent.adapters.postgres_listener import CHANGES, STOPS, Listener
from agent.adapters.postgres_retry import retried, transact
from agent.errors import Conflict, Fenced, NotFound, Unavailable
from agent.events import Payload, RunAccepted, RunEvent
from agent.freeze import Freeze
from agent.gate import GateId
from agent.intents import Intent
from agent.ports import Write
from agent.run import (
    ENDED,
    PARKED,
    WAITING,
    Digest,
    Limits,
    Request,
    Run,
    RunId,
    RunStatus,
    Thread,
)

#: Grows when a worker of an older version could not go on with a run of this one.
CODE = 2
_FROZEN = 30.0  # seconds; the end of a freeze wakes what it held
_GAP = 1.0  # seconds after which a hint may cut the waiting of a run short


class PostgresStore(FreezeTable):
    """`agent.ports.Store`. `fleet`: how many runs may be at work at once, over all workers,
    unless a person has said so."""

    def __init__(
        self, pool: Pool, listener: Listener, *, fleet: int | None = None, code: int = CODE
    ) -> None:
        super().__init__(pool, listener)
        self.fleet = fleet
        self._code = code

    # --- reading -------------------------------------------------------------------------

    async def run(self, run: RunId) -> Run:
        row = await retried(lambda: self._pool.fetchrow(sql.RUN, run))
        return sql.run_of(_found(row, run))

    async def runs(
        self,
        *,
        statuses: Collection[RunStatus] | None = None,
        project: str | None = None,
        limit: int = 50,
    ) -> Sequence[Run]:
        wanted = None if statuses is None else [str(status) for status in statuses]
        rows = await retried(lambda: self._pool.fetch(sql.RUNS, wanted, project, limit))
        return [sql.run_of(row) for row in rows]

    async def run_of_thread(self, team: str, channel: str, ts: str) -> Run | None:
        newest = await self.runs_of_thread(Thread(team=team, channel=channel, ts=ts), limit=1)
        return newest[0] if newest else None

    async def runs_of_thread(self, thread: Thread, *, limit: int = 50) -> Sequence[Run]:
        of = (thread.team, thread.channel, thread.ts)
        rows = await retried(lambda: self._pool.fetch(sql.RUNS_OF_THREAD, *of, limit))
        return [sql.run_of(row) for row in rows]

    async def events(self, run: RunId, *, after: int = 0) -> Sequence[RunEvent]:
        rows = await retried(lambda: self._pool.fetch(sql.EVENTS, run, after))
        return [event for row in rows if (event := sql.event_of(row))]

    async def body(self, run: RunId, digest: Digest) -> bytes:
        data: bytes | None = await retried(lambda: self._pool.fetchval(sql.BODY, run, digest))
        if data is None:
            raise NotFound(f"Run {run} has stored no text under {digest}.")
        return await unpacked(data)

    async def verify(self, run: RunId) -> int | None:
        """`seq` of the first event that does not fit its hash or is missing; None: all fit."""
        head = _found(await retried(lambda: self._pool.fetchrow(sql.HEAD, run)), run)
        rows = await retried(lambda: self._pool.fetch(sql.EVENTS, run, 0))
        previous, expected = "", 1
        for row in rows:
            made = codec.event_hash(previous, run, expected, row["kind"], row["actor"], row["data"])
            if made != row["hash"]:
                return expected
            if expected == head["head_seq"]:
                return None if made == head["head_hash"] else expected
            previous, expected = made, expected + 1
        return expected

    async def run_of_gate(self, gate: GateId) -> RunId | None:
        found = await retried(lambda: self._pool.fetchval(sql.RUN_OF_GATE, gate))
        return None if found is None else RunId(found)

    async def pending_intents(self, run: RunId) -> Sequence[tuple[str, Intent]]:
        rows = await retried(lambda: self._pool.fetch(sql.PENDING_INTENTS, run))
        read = [(row["key"], codec.intent(row["kind"], row["data"])) for row in rows]
        made = [(key, intent) for key, intent in read if intent]
        if len(made) < len(rows) or any(row["min_code"] > self._code for row in rows):
            raise too_new(run)
        return made

    async def free_places(self, *, besides: RunId | None = None) -> int | None:
        return await free_places(self._pool, self.fleet, besides)

    @asynccontextmanager
    async def changes(self) -> AsyncGenerator[AsyncIterator[RunId]]:
        ended = [str(status) for status in ENDED]
        with self._listener.subscribed(CHANGES) as changed:

            async def ids() -> AsyncIterator[RunId]:
                while True:
                    taken = await changed.take()
                    if taken is None:
                        rows = await retried(lambda: self._pool.fetch(sql.CURRENT_RUNS, ended))
                        taken = [row["id"] for row in rows]
                    for each in taken:
                        yield RunId(int(each))

            await self._listener.ready()
            yield ids()

    async def stop_asked(self, run: RunId) -> None:
        with self._listener.subscribed(STOPS) as stops:
            while not await retried(lambda: self._pool.fetchval(sql.CANCEL, run)):
                while (taken := await stops.take()) is not None and str(run) not in taken:
                    pass

    # --- writing -------------------------------------------------------------------------

    async def set_project(self, project: str, *, max_runs: int) -> None:
        await retried(lambda: self._pool.execute(sql.SET_PROJECT, project, max_runs))

    async def create(
        self,
        key: str,
        request: Request,
        limits: Limits,
        *,
        born: Write | None = None,
        alone: bool = False,
        after: RunId | None = None,
    ) -> tuple[Run, bool]:
        request = replace(request, mark=await retried(lambda: self._pool.fetchval(sql.MARK)))
        born = born or Write(payloads=())
        first = RunAccepted(request=request, limits=limits)
        accepted = await prepared((first, *born.payloads), born.bodies)

        async def once(connection: Connection) -> tuple[Run, bool]:
            thread = request.thread
            if alone and (there := await sql.beside(connection, key, thread, after)):
                return there, False
            await connection.execute(sql.ADD_PROJECT, request.project)
            row = await connection.fetchrow(
                sql.CREATE_RUN,
                key,
                *(thread.team, thread.channel, thread.ts, request.message, request.project),
                *(RunStatus.QUEUED, codec.to_json(request), codec.to_json(limits), self._code),
            )
            if row is None:
                return sql.run_of(await _fetched(connection, sql.RUN_OF_KEY, key)), False
            append = Append(row, accepted, actor=request.requester.id)
            append.move(born.status)
            append.wake = True
            return await append.write(connection), True

        return await transact(self._pool, once)

    async def claim(self, run: RunId, worker: str) -> Run | None:
        async def once(connection: Connection) -> Run | Freeze | Unavailable | None:
            return await claim(connection, run, worker, fleet=self.fleet, code=self._code)

        claimed = await transact(self._pool, once)
        if isinstance(claimed, Freeze):
            raise Unavailable(claimed.sentence, retry_after=_FROZEN)
        if isinstance(claimed, Unavailable):
            raise claimed
        return claimed

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
        row, _ = await self._write(
            run,
            write,
            actor=actor,
            epoch=epoch,
            expect=expect,
            expect_seq=expect_seq,
            intent=intent,
        )
        return row

    async def append(
        self, run: RunId, write: Write, *, actor: str, epoch: int
    ) -> tuple[Run, Sequence[RunEvent]]:
        row, append = await self._write(run, write, actor=actor, epoch=epoch)
        return row, append.events() if append else ()

    async def _write(
        self,
        run: RunId,
        write: Write,
        *,
        actor: str,
        epoch: int | None,
        expect: Collection[RunStatus] | None = None,
        expect_seq: int | None = None,
        intent: str = "",
    ) -> tuple[Run, Append | None]:
        ready = await prepared(write.payloads, write.bodies, write.intents)
        earlier: list[Append] = []

        async def once(connection: Connection) -> tuple[Run, Append | None]:
            row = await locked(connection, run)
            if earlier and await earlier[-1].stands(connection):
                return sql.run_of(row), None  # it was committed, only the answer was lost
            if epoch is not None and row["epoch"] != epoch:
                raise Fenced(f"Run {run} was taken over by another worker.")
            if intent and not await connection.fetchval(sql.INTENT_OPEN, run, intent):
                raise Fenced("Another process has carried this out by now.")
            if expect is not None and row["status"] not in expect:
                raise Conflict(f"Run {run} is {row['status']} by now; nothing was changed.")
            if expect_seq is not None and row["head_seq"] != expect_seq:
                raise Conflict(f"Something else happened to run {run}; nothing was changed.")
            append = Append(row, ready, actor=actor)
            append.move(write.status)
            append.wake, append.wake_after = write.wake, write.wake_after
            if write.wake and epoch is not None:
                append.owner = None
            earlier.append(append)
            return await append.write(connection), append

        return await transact(self._pool, once)

    async def settle(self, run: RunId, key: str, payload: Payload, *, wake: bool) -> None:
        ready = await prepared((payload,))

        async def once(connection: Connection) -> None:
            row = await locked(connection, run)
            if not await connection.fetchval(sql.INTENT_OPEN, run, key):
                return
            append = Append(row, ready, actor="effects")
            append.wake = wake
            await append.write(connection)
            await connection.execute(sql.SETTLE, run, key, append.seq)

        await transact(self._pool, once)

    async def ask_stop(self, run: RunId, payload: Payload, *, actor: str) -> Run:
        ready = await prepared((payload,))

        async def once(connection: Connection) -> Run:
            row = await locked(connection, run)
            status = RunStatus(row["status"])
            if status in ENDED or row["cancel"] or await sql.stopped_by(connection, run, payload):
                return sql.run_of(row)
            if row["owner"] is None or status in WAITING | {RunStatus.QUEUED}:
                return await cancel(connection, row, payload, actor)
            append = Append(row, ready, actor=actor)
            append.cancel = append.stops = True
            return await append.write(connection)

        return await transact(self._pool, once)

    async def hint(self, run: RunId) -> bool:
        jobs = f"run:{run}:", timedelta(seconds=_GAP)

        async def once(connection: Connection) -> bool:
            row = await locked(connection, run)
            if row["status"] not in PARKED:
                return False
            return await connection.fetchval(sql.HINT, *jobs) is not None

        return await transact(self._pool, once)


async def _fetched(connection: Connection, query: str, argument: Any) -> Row:
    return _found(await connection.fetchrow(query, argument), argument)


def _found(row: Row | None, run: object) -> Row:
    if row is None:
        raise NotFound(f"There is no run {run}.")
    return row
