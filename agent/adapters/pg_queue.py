"""Wake-ups of runs and effects, leased to workers by PgQueuer."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Mapping,
    Sequence,
    Sized,
)
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, cast

import asyncpg
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.errors import FailingListenerError, RetryRequested
from pgqueuer.domain.models import Job
from pgqueuer.domain.types import QueueEntrypoint

from agent.adapters.effect_jobs import left_to_another
from agent.adapters.pgqueuer_parts import Beats, FencedQueries, ResilientDriver
from agent.adapters.postgres import CONNECTION_ERRORS, Connection, Pool
from agent.adapters.postgres_broken import give_up_deadly
from agent.adapters.postgres_claim import LEASE, lock_fleet
from agent.adapters.postgres_listener import Listener
from agent.adapters.postgres_retry import retried
from agent.adapters.queue_mending import mended
from agent.adapters.queue_settings import queue_settings
from agent.errors import Fenced, StoreUnavailable, Unavailable
from agent.grip import gripped, held
from agent.run import RunId

_log = logging.getLogger(__name__)

_EFFECT_SLOTS = 12  # they wait for GitLab, and a failing one is asked for seconds
_WATCH_SLOTS = 4
_POLL = timedelta(seconds=1)  # a job handed back with a delay comes without notification
_REFRESH = 1.0  # seconds between two looks at the projects' limits
_MEND = 30.0  # seconds between two looks for what was lost

Call = Callable[[RunId], Awaitable[None]]

PROJECTS = "SELECT id, coalesce(told_max, max_runs) AS max_runs FROM projects"
#: Runs at work, by the jobs of those who live. The claim has the last word.
AT_WORK = """
SELECT count(*) FROM engine.pgqueuer
WHERE status = 'picked' AND starts_with(entrypoint, 'run.') AND heartbeat > now() - $1::interval"""


class PgQueue:
    """`agent.ports.Queue`. `projects`: whose runs this process takes, None for all of them.
    `fleet`: how many runs may be at work over all workers, unless a person has said so; `lease`:
    seconds after which another worker takes a dead one's jobs; `hung`: after which those
    of a process whose event loop shows no sign count as a dead one's; `hand_back`: which a
    cancelled call has to clean up."""

    def __init__(
        self,
        dsn: str,
        pool: Pool,
        listener: Listener,
        *,
        projects: Collection[str] | None = None,
        fleet: int | None = None,
        lease: float = LEASE,
        hung: float = 60.0,
        hand_back: float = 20.0,
    ) -> None:
        self._dsn = dsn
        self._pool = pool
        self._listener = listener
        self._projects = projects
        self._fleet = fleet
        self._lease = lease
        self._hung = hung
        self._hand_back = hand_back
        self.mended = 0  #: wake-ups that were lost, since this process began

    async def work(
        self, *, on_run: Call | None = None, on_effects: Call | None = None, slots: int = 4
    ) -> None:
        stopping = asyncio.Event()
        serving = asyncio.create_task(self._serve_all(on_run, on_effects, slots, stopping))
        try:
            await asyncio.shield(serving)
        finally:
            stopping.set()
            await asyncio.wait({serving}, timeout=self._hand_back + 5)

    async def _serve_all(
        self, on_run: Call | None, on_effects: Call | None, slots: int, stopping: asyncio.Event
    ) -> None:
        kinds = [
            _Kind(
                call=call,
                slots=count,
                limits=limits,
                everywhere=free,
                needless=needless,
                hand_back=self._hand_back,
                once=call is on_effects,
            )
            for call, count, limits, free, needless in (
                (on_run, slots, self._run_limits, self._free, None),
                (on_run, _WATCH_SLOTS, self._watch_limits, None, None),
                (on_effects, _EFFECT_SLOTS, self._effect_limits, None, self._needless),
            )
            if call
        ]
        beating = Beats(self._dsn, every=self._lease / 4, hung=self._hung)
        async with beating as beats, _beside(self._mend()):
            await asyncio.gather(*(self._serve(kind, beats, stopping) for kind in kinds))

    async def _serve(self, kind: _Kind, beats: Beats, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            queries = FencedQueries.over(ResilientDriver(self._pool, self._listener, stopping))
            manager = QueueManager(queries, channel=queue_settings().channel)
            queries.holder = manager.queue_manager_id
            queries.room = partial(kind.free, manager.job_context)
            queries.everywhere = kind.everywhere
            # PgQueuer would ask ten times a second while a job waits for its project's limit
            manager.min_dequeue_poll_interval = timedelta(seconds=0.5)
            manager.shutdown = stopping
            kind.register(manager, await kind.limits(), stopping)
            try:
                with beats.beating(manager.queue_manager_id, manager.job_context):
                    async with _beside(_keep_limits(kind, manager, stopping)):
                        await manager.run(
                            dequeue_timeout=_POLL,
                            batch_size=max(1, kind.slots // 2),
                            max_concurrent_tasks=max(2, kind.slots),  # it takes no less
                            heartbeat_timeout=timedelta(seconds=self._lease),
                            log_aggregation_interval=timedelta(0),
                        )
            except (*CONNECTION_ERRORS, asyncpg.PostgresError, FailingListenerError) as error:
                _log.warning("queue.restarted error=%r", error)
                await asyncio.sleep(0.5)

    async def _run_limits(self) -> Mapping[str, int]:
        return {f"run.{project}": limit for project, limit in await self._ours()}

    async def _watch_limits(self) -> Mapping[str, int]:
        return {f"watch.{project}": 0 for project, _ in await self._ours()}

    async def _effect_limits(self) -> Mapping[str, int]:
        return {f"effects.{project}": 0 for project, _ in await self._ours()}

    async def _ours(self) -> Sequence[tuple[str, int]]:
        rows = await retried(lambda: self._pool.fetch(PROJECTS))
        ours = self._projects
        return [(row["id"], row["max_runs"]) for row in rows if ours is None or row["id"] in ours]

    async def _free(self, connection: Connection) -> int | None:
        """Places over all workers; None: as many as anybody has."""
        fleet = await lock_fleet(connection)
        most = fleet["max_runs"] or self._fleet
        if most is None:
            return None
        return most - await connection.fetchval(AT_WORK, timedelta(seconds=self._lease))

    async def _needless(self, run: RunId, job: int) -> bool:
        return await left_to_another(self._pool, run, job) or await give_up_deadly(
            self._pool, run, job, self._lease
        )

    async def _mend(self) -> None:
        while True:
            self.mended += await mended(self._pool, timedelta(seconds=_MEND), self._lease)
            await asyncio.sleep(_MEND)


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """Jobs of one kind: what to call, how many at once here, and over all workers by name."""

    call: Call
    slots: int
    limits: Callable[[], Awaitable[Mapping[str, int]]]
    everywhere: Callable[[Connection], Awaitable[int | None]] | None  #: places over all workers
    needless: Callable[[RunId, int], Awaitable[bool]] | None  #: whether nothing is left for it
    hand_back: float
    once: bool  #: nobody may begin it anew while it is under way, and nothing else would hinder it

    def free(self, held: Sized) -> int:
        return self.slots - len(held)

    def register(
        self, manager: QueueManager, limits: Mapping[str, int], stopping: asyncio.Event
    ) -> None:
        queries = cast(FencedQueries, manager.queries)

        async def handle(job: Job) -> None:
            with gripped(partial(queries.hold, job.id)):
                await self._carry_out(job, stopping)

        registry = manager.entrypoint_registry
        for name, limit in limits.items():
            if registered := registry.get(QueueEntrypoint(name)):
                registered.parameters.concurrency_limit = limit
            else:
                manager.entrypoint(
                    name, concurrency_limit=limit, accepts_context=False, on_failure="hold"
                )(handle)

    async def _begin(self, job: Job, run: RunId) -> None:
        await held()
        if self.needless is None or not await self.needless(run, job.id):
            await self.call(run)

    async def _carry_out(self, job: Job, stopping: asyncio.Event) -> None:
        """Returns when the job is done with; raises `RetryRequested` for it to come again, and is
        cancelled where it must not yet."""
        run = RunId(json.loads(job.payload or b"{}")["run"])
        working = asyncio.ensure_future(self._begin(job, run))
        stops = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({working, stops}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                working.cancel()
                await asyncio.wait({working}, timeout=self.hand_back)
        finally:
            stops.cancel()
            working.cancel()
        if not working.done() and self.once:
            raise asyncio.CancelledError  # the job stays ours, and grows stale with this process
        if not working.done() or working.cancelled():
            raise RetryRequested(timedelta(0), "the worker stops")
        error = working.exception()
        if isinstance(error, Unavailable):
            raise RetryRequested(timedelta(seconds=error.retry_after or 5.0), str(error)) from error
        if isinstance(error, Fenced):
            return  # who owns the run now has a job of its own
        if error:
            raise error


async def _keep_limits(kind: _Kind, manager: QueueManager, stopping: asyncio.Event) -> None:
    """The highest limit that any worker declares counts, so each keeps up with the table."""
    while True:
        await asyncio.sleep(_REFRESH)
        with suppress(StoreUnavailable):
            kind.register(manager, await kind.limits(), stopping)


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
