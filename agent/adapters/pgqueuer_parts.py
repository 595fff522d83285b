"""PgQueuer's own extension points, filled where it has gaps: a worker that was replaced may
finish nothing, a restart of PostgreSQL ends nothing, a busy event loop loses nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, TypeVar

from pgqueuer.adapters.persistence.qb import (
    QueryBuilderEnvironment,
    QueryQueueBuilder,
    QuerySchedulerBuilder,
)
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.tm import TaskManager
from pgqueuer.domain.models import Job, TracebackRecord
from pgqueuer.domain.types import JOB_STATUS, JobId, QueueEntrypoint, QueueManagerId
from pgqueuer.ports.driver import Driver, NotifyCallback
from pgqueuer.ports.repository import EntrypointExecutionParameter

from agent.adapters.postgres import CONNECTION_ERRORS, Connection, Pool, connect
from agent.adapters.postgres_listener import Listener
from agent.adapters.queue_settings import queue_settings
from agent.adapters.store_sql import NOTIFY_WORKERS
from agent.errors import Fenced, StoreUnavailable

_SLOWEST = 1.0  # seconds between two attempts

T = TypeVar("T")

BEAT = """
UPDATE engine.pgqueuer SET heartbeat = now()
WHERE id = ANY ($1::bigint[]) AND queue_manager_id = $2"""
HOLD = f"{BEAT} RETURNING id"
#: A job that failed is held for looking at; any other is done with.
FINISH = """
WITH told AS (
    SELECT * FROM unnest($1::bigint[], $2::engine.pgqueuer_status[], $3::jsonb[])
        AS t (id, status, traceback)
), deleted AS (
    DELETE FROM engine.pgqueuer
    WHERE id IN (SELECT id FROM told WHERE status <> 'failed') AND queue_manager_id = $4
    RETURNING id, entrypoint, priority
), held AS (
    UPDATE engine.pgqueuer SET status = 'failed', updated = now(), queue_manager_id = NULL
    WHERE id IN (SELECT id FROM told WHERE status = 'failed') AND queue_manager_id = $4
    RETURNING id, entrypoint, priority
)
INSERT INTO engine.pgqueuer_log (job_id, status, entrypoint, priority, traceback)
SELECT told.id, told.status, mine.entrypoint, mine.priority, told.traceback
FROM told JOIN (TABLE deleted UNION ALL TABLE held) AS mine USING (id)"""
#: Once for each time that it was taken: a repetition would take it from who has begun it anew.
HAND_BACK = """
WITH mine AS (
    UPDATE engine.pgqueuer SET status = 'queued', execute_after = now() + $2::interval,
        attempts = attempts + 1, updated = now(), queue_manager_id = NULL
    WHERE id = $1 AND queue_manager_id = $4 AND attempts = $5
    RETURNING id, entrypoint, priority
)
INSERT INTO engine.pgqueuer_log (job_id, status, entrypoint, priority, traceback)
SELECT id, 'queued', entrypoint, priority, $3::jsonb FROM mine"""
WAKE_WORKERS = f"SELECT {NOTIFY_WORKERS}"


_within: ContextVar[Connection | None] = ContextVar("within", default=None)


class ResilientDriver(Driver):
    """Repeats what a lost connection interrupted, until `stopping` is set."""

    def __init__(self, pool: Pool, listener: Listener, stopping: asyncio.Event) -> None:
        self._pool = pool
        self._listener = listener
        self._stopping = stopping
        self._shutdown = asyncio.Event()
        self._tasks = TaskManager()
        self._relays: set[asyncio.Task[None]] = set()

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        if connection := _within.get():
            rows = await connection.fetch(query, *args)
        else:
            rows = await self._persistently(lambda: self._pool.fetch(query, *args))
        return [dict(row) for row in rows]

    async def within(self, once: Callable[[Connection], Awaitable[T]]) -> T:
        """What `once` fetches here is one transaction."""

        async def attempt() -> T:
            async with self._pool.acquire() as connection, connection.transaction():
                token = _within.set(connection)
                try:
                    return await once(connection)
                finally:
                    _within.reset(token)

        return await self._persistently(attempt)

    async def execute(self, query: str, *args: object) -> str:
        return await self._persistently(lambda: self._pool.execute(query, *args))

    async def notify(self, channel: str, payload: str) -> None:
        await self.execute("SELECT pg_notify($1, $2)", channel, payload)

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        listening = asyncio.Event()
        self._relays.add(asyncio.create_task(self._relay(channel, callback, listening)))
        await listening.wait()

    @property
    def shutdown(self) -> asyncio.Event:
        return self._shutdown

    @property
    def tm(self) -> TaskManager:
        return self._tasks

    async def __aenter__(self) -> ResilientDriver:
        return self

    async def __aexit__(self, *_: object) -> None:
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)
        self._relays.clear()

    async def _relay(
        self, channel: str, callback: NotifyCallback, listening: asyncio.Event
    ) -> None:
        with self._listener.subscribed(channel) as subscription:
            await self._listener.ready()
            listening.set()
            while True:
                for payload in await subscription.take() or ():
                    callback(payload)

    async def _persistently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        pause = 0.1
        while True:
            try:
                return await attempt()
            except ValueError:
                raise  # wrong arguments, which asyncpg counts among its own errors
            except CONNECTION_ERRORS:
                if self._stopping.is_set():
                    raise
            await asyncio.sleep(pause)
            pause = min(_SLOWEST, pause * 2)


class FencedQueries(Queries):
    """Only the worker that holds a job may beat for it, finish it or hand it back. It takes no
    more jobs than there is `room` for, here and, with `everywhere`, over all workers: what it took
    and could not begin would wait here while another worker is idle, and lose its turn."""

    holder: Any = None
    room: Callable[[], int] | None = None
    everywhere: Callable[[Connection], Awaitable[int | None]] | None = None
    resilient: ResilientDriver

    @classmethod
    def over(cls, driver: ResilientDriver) -> FencedQueries:
        settings = queue_settings()
        made = cls(
            driver,
            qbe=QueryBuilderEnvironment(settings),
            qbq=QueryQueueBuilder(settings),
            qbs=QuerySchedulerBuilder(settings),
        )
        made.resilient = driver
        return made

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> list[Job]:
        here = min(batch_size, self.room()) if self.room else batch_size
        everywhere, take = self.everywhere, super().dequeue
        rest = (entrypoints, queue_manager_id, global_concurrency_limit, heartbeat_timeout)
        if here < 1:
            return []
        if everywhere is None:
            return await take(here, *rest)

        async def once(connection: Connection) -> list[Job]:
            free = await everywhere(connection)  # who else counts waits for our transaction
            most = here if free is None else min(here, free)
            return await take(most, *rest) if most > 0 else []

        return await self.resilient.within(once)

    async def update_heartbeat(self, job_ids: list[JobId]) -> None:
        await self.driver.execute(BEAT, sorted(set(job_ids)), self.holder)

    async def hold(self, job: JobId) -> None:
        """Keeps the job alive once more; raises `Fenced` when another worker has it by now."""
        if not await self.driver.fetch(HOLD, [job], self.holder):
            raise Fenced("Another process has taken this over.")

    async def log_jobs(
        self, job_status: list[tuple[Job, JOB_STATUS, TracebackRecord | None]]
    ) -> None:
        # A handler is cancelled only when the process is torn down: the job stays ours, grows
        # stale, and the next worker takes it.
        ended = [each for each in job_status if each[1] != "canceled"]
        await self.driver.execute(
            FINISH,
            [job.id for job, _, _ in ended],
            [status for _, status, _ in ended],
            [_as_json(record) for _, _, record in ended],
            self.holder,
        )

    async def retry_job(
        self, job: Job, delay: timedelta, traceback_record: TracebackRecord | None
    ) -> None:
        record = _as_json(traceback_record)
        await self.driver.execute(HAND_BACK, job.id, delay, record, self.holder, job.attempts)
        await self.driver.execute(WAKE_WORKERS)


def _as_json(record: TracebackRecord | None) -> str | None:
    return record.model_dump_json() if record else None


class Beats:
    """Heartbeats from a thread and connection of their own, so that a busy event loop does not
    look like a dead one; a loop that hangs for good does, after `hung` seconds without a sign of
    it."""

    def __init__(self, dsn: str, *, every: float, hung: float) -> None:
        self._dsn = dsn
        self._every = every
        self._hung = hung
        self._held: dict[Any, dict[JobId, Any]] = {}
        self._over = threading.Event()
        self._alive = time.monotonic()
        self._pulse: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="heartbeats", daemon=True)

    @contextmanager
    def beating(self, holder: Any, jobs: dict[JobId, Any]) -> Generator[None]:
        """While entered, whatever `jobs` holds at the time is kept alive."""
        self._held[holder] = jobs
        try:
            yield
        finally:
            del self._held[holder]

    async def __aenter__(self) -> Beats:
        self._pulse = asyncio.create_task(self._show_life())
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pulse:
            self._pulse.cancel()
        self._over.set()
        await asyncio.to_thread(self._thread.join)

    async def _show_life(self) -> None:
        while True:
            self._alive = time.monotonic()
            await asyncio.sleep(self._hung / 60)

    def _run(self) -> None:
        asyncio.run(self._beat())

    async def _beat(self) -> None:
        connection: Connection | None = None
        while not self._over.is_set():
            try:
                if connection is None or connection.is_closed():
                    connection = await connect(self._dsn)
                if time.monotonic() - self._alive < self._hung:
                    for holder, jobs in self._held.copy().items():
                        if ids := list(jobs.copy()):
                            await connection.execute(BEAT, ids, holder, timeout=5)
            except (*CONNECTION_ERRORS, StoreUnavailable):
                connection = None
            await asyncio.to_thread(self._over.wait, self._every)
        if connection:
            connection.terminate()
