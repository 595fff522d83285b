"""Notifications of PostgreSQL, over a connection that is made again when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from agent.adapters.postgres import CONNECTION_ERRORS, Connection, connect
from agent.errors import StoreUnavailable

CHANGES = "journeyman_runs"  #: payload: id of a run whose log grew
STOPS = "journeyman_stops"  #: payload: id of a run that is asked to stop
FREEZES = "journeyman_freezes"  #: payload: a scope that was frozen
PUSHES = "journeyman_pushes"  #: payload: a project whose code was pushed
QUEUE = "ch_engine"  #: PgQueuer's own
_PROBE = 5.0  # seconds; a half-open connection says nothing by itself
_PAUSE = 0.3  # seconds before a new connection


class Subscription:
    """What came since it was last taken, each payload once."""

    def __init__(self) -> None:
        self._payloads: dict[str, None] = {}
        self._reconnected = True
        self._filled = asyncio.Event()
        self._filled.set()

    async def take(self) -> list[str] | None:
        """None: the connection is new, anything may have been missed."""
        await self._filled.wait()
        self._filled.clear()
        payloads, self._payloads = list(self._payloads), {}
        if self._reconnected:
            self._reconnected = False
            return None
        return payloads

    def put(self, payload: str) -> None:
        self._payloads[payload] = None
        self._filled.set()

    def reconnected(self) -> None:
        self._reconnected = True
        self._filled.set()


class Listener:
    """Listens from the first subscription on."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._subscriptions: dict[str, set[Subscription]] = {
            channel: set() for channel in (CHANGES, STOPS, FREEZES, PUSHES, QUEUE)
        }
        self._task: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()

    async def __aenter__(self) -> Listener:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})

    @contextmanager
    def subscribed(self, channel: str) -> Generator[Subscription]:
        if self._task is None:
            self._task = asyncio.create_task(self._listen())
        subscription = Subscription()
        self._subscriptions[channel].add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[channel].remove(subscription)

    @property
    def hears(self) -> bool:
        return self._listening.is_set()

    async def ready(self) -> None:
        """Returns once notifications are being received."""
        await self._listening.wait()

    async def _listen(self) -> None:
        while True:
            connection: Connection | None = None
            try:
                connection = await connect(self._dsn)
                await self._receive(connection)
            except (*CONNECTION_ERRORS, StoreUnavailable):
                pass
            finally:
                self._listening.clear()
                if connection:
                    connection.terminate()
            await asyncio.sleep(_PAUSE)

    async def _receive(self, connection: Connection) -> None:
        lost = asyncio.Event()
        connection.add_termination_listener(lambda *_: lost.set())
        for channel in self._subscriptions:
            await connection.add_listener(channel, self._notified)
        self._listening.set()
        for subscription in self._all():
            subscription.reconnected()
        while not lost.is_set():
            try:
                async with asyncio.timeout(_PROBE):
                    await lost.wait()
            except TimeoutError:
                await connection.execute("SELECT 1", timeout=_PROBE)

    def _notified(self, connection: Any, pid: int, channel: str, payload: str) -> None:
        for subscription in self._subscriptions[channel]:
            subscription.put(payload)

    def _all(self) -> list[Subscription]:
        return [each for subscriptions in self._subscriptions.values() for each in subscriptions]
