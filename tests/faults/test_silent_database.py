"""A PostgreSQL, or a host between, from which nothing comes any more: not even that it is gone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from wire import Wire

import agent.adapters.postgres_links
import agent.adapters.postgres_retry
from agent.adapters.database import Database, open_database
from agent.adapters.postgres import Connection, connect
from agent.errors import StoreUnavailable


@pytest.fixture
async def wire(database_url: str) -> AsyncIterator[Wire]:
    async with Wire(database_url) as opened:
        yield opened


async def test_a_server_that_falls_silent_is_not_waited_for_for_ever(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(agent.adapters.postgres_links, "ANSWER", 5.0)
    monkeypatch.setattr(agent.adapters.postgres_retry, "_PATIENCE", 0.2)
    async with asyncio.timeout(60), open_database(home=tmp_path, url=wire.url) as db:
        await db.store.runs()
        wire.deaf = True
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await db.store.runs()
        wire.deaf = False
        wire.cut()
        assert await db.store.runs() == []


async def test_who_waits_for_a_connection_does_not_wait_for_ever(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(agent.adapters.postgres_links, "ACQUIRED", 3.0)
    monkeypatch.setattr(agent.adapters.postgres_retry, "_PATIENCE", 0.2)
    async with asyncio.timeout(60), open_database(home=tmp_path, url=wire.url) as db:
        async with AsyncExitStack() as taken:
            for _ in range(10):
                await taken.enter_async_context(db.pool.acquire(timeout=60))
            with pytest.raises(StoreUnavailable, match="does not answer"):
                await db.store.runs()
        assert await db.store.runs() == []


async def test_connections_over_a_network_notice_a_host_that_is_gone(wire: Wire, tmp_path: Path):
    async with open_database(home=tmp_path, url=wire.url) as db:
        for pool in (db.pool, db.inbox._reserved):  # pyright: ignore[reportPrivateUsage]
            async with pool.acquire() as connection:
                assert watched(connection)
        alone = await connect(wire.url)
        assert watched(alone)
        await alone.close()


async def test_a_transaction_that_nobody_goes_on_with_holds_its_rows_for_a_while_only(
    db: Database,
):
    async with db.pool.acquire() as connection:
        assert await connection.fetchval("SHOW idle_in_transaction_session_timeout") == "15s"


def watched(connection: Connection) -> bool:
    """Data and silence that go unanswered end the connection within half a minute."""
    opened: Any = connection
    kept: socket.socket = opened._transport.get_extra_info("socket")
    unanswered = kept.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    idle = kept.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
    return bool(
        kept.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        and 0 < unanswered <= 30_000
        and idle <= 15
    )
