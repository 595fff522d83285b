"""What PostgreSQL does without us: the floor of what we ask of it."""

from __future__ import annotations

import asyncio
import time

from agent.adapters.embedded_postgres import ADMIN, APP
from agent.adapters.postgres import connect


async def commits(dsn: str, count: int) -> list[float]:
    """Milliseconds of inserting one row of a step's size, each with its own commit."""
    connection = await connect(owner(dsn))
    try:
        await connection.execute("CREATE TABLE bench_plain (id bigserial PRIMARY KEY, data text)")
        took: list[float] = []
        for number in range(count):
            data = f"{number:06}" * 200
            began = time.perf_counter()
            await connection.execute("INSERT INTO bench_plain (data) VALUES ($1)", data)
            took.append(1000 * (time.perf_counter() - began))
        await connection.execute("DROP TABLE bench_plain")
        return took
    finally:
        await connection.close()


async def notified(dsn: str, count: int) -> list[float]:
    """Milliseconds from a committed insert to its row taken by a connection that was told."""
    sender, taker = await connect(owner(dsn)), await connect(owner(dsn))
    try:
        await sender.execute("CREATE TABLE bench_told (id bigserial PRIMARY KEY, data text)")
        told = asyncio.Event()
        await taker.add_listener("bench_told", lambda *_: told.set())
        took: list[float] = []
        for _ in range(count):
            told.clear()
            began = time.perf_counter()
            async with sender.transaction():
                await sender.execute("INSERT INTO bench_told (data) VALUES ('')")
                await sender.execute("NOTIFY bench_told")
            await told.wait()
            taken = await taker.execute(
                "DELETE FROM bench_told WHERE id = "
                "(SELECT id FROM bench_told ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)"
            )
            took.append(1000 * (time.perf_counter() - began))
            assert taken == "DELETE 1", taken
        await sender.execute("DROP TABLE bench_told")
        return took
    finally:
        await sender.close()
        await taker.close()


def owner(dsn: str) -> str:
    """The service's own role may make no tables."""
    return dsn.replace(f"{APP}@", f"{ADMIN}@")
