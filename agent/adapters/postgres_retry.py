"""Patience with a server that restarts, has nothing left, or is asked for too much at once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TypeVar

from agent.adapters.postgres import (
    CONNECTION_ERRORS,
    CONTENTION,
    Connection,
    Pool,
    Row,
    translated,
)
from agent.errors import JourneymanError, StoreUnavailable
from agent.guard import guarded
from agent.run import RunId

_log = logging.getLogger(__name__)

_PATIENCE = 15.0  # seconds
_SLOWEST = 1.0  # seconds between two attempts
_FIGHTS = 3  # more, with what is in the way

T = TypeVar("T")


async def transact(pool: Pool, once: Callable[[Connection], Awaitable[T]]) -> T:
    """`once` may run again after its transaction was committed: it has to notice."""

    async def attempt() -> T:
        async with pool.acquire() as connection, connection.transaction():
            return await once(connection)

    return await retried(attempt)


async def each_alone(
    pool: Pool, rows: Iterable[Row], once: Callable[[RunId, Connection], Awaitable[T]]
) -> list[T]:
    """A transaction for every run of these rows, by its `id`: one that breaks stands in the log
    and stops no other. Raises `StoreUnavailable` when the server stays away."""
    done: list[T] = []
    for row in rows:
        run = RunId(row["id"])
        try:
            with guarded(_log, "run_not_mended", run=run):
                done.append(await transact(pool, partial(once, run)))
        except StoreUnavailable:
            raise
        except JourneymanError as error:
            _log.warning("run_not_mended run=%s error=%r", run, error)
    return done


async def retried(attempt: Callable[[], Awaitable[T]]) -> T:
    """Raises `StoreUnavailable` when the server stays away."""
    deadline = time.monotonic() + _PATIENCE
    pause = 0.05
    fights = 0
    with translated():
        while True:
            try:
                return await attempt()
            except ValueError:
                raise  # asyncpg's errors about wrong arguments are among the connection's
            except CONNECTION_ERRORS as error:
                fights += isinstance(error, CONTENTION)
                if fights > _FIGHTS:
                    raise
                if time.monotonic() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(_SLOWEST, pause * 2)
