"""A real PostgreSQL for the tests: one server a session, a fresh database a test."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from agent.adapters.database import Database, open_database
from agent.adapters.embedded_postgres import ADMIN, APP, EmbeddedPostgres
from agent.adapters.postgres import Connection, connect

TEMPLATE = "template_migrated"
_numbers = count(1)


@dataclass(frozen=True, kw_only=True)
class TestDatabase:
    """A migrated database of its own; `url` is the service's, `admin_url` the owner's."""

    __test__ = False

    url: str
    admin_url: str


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    from agent.adapters.migration import migrate

    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), settings={"fsync": "off"})

    async def start() -> None:
        await server.__aenter__()
        await _as_admin(server, f"CREATE DATABASE {TEMPLATE}")
        await migrate(server.dsn(ADMIN, TEMPLATE), APP)

    asyncio.run(start())
    yield server
    folder = server.folder
    asyncio.run(server.__aexit__(None, None, None))
    shutil.rmtree(folder)  # run by root, it lies outside pytest's own folders


@pytest.fixture
def database(postgres_server: EmbeddedPostgres) -> Iterator[TestDatabase]:
    name = f"test_{next(_numbers)}"
    asyncio.run(_as_admin(postgres_server, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}"))
    yield TestDatabase(
        url=postgres_server.dsn(APP, name), admin_url=postgres_server.dsn(ADMIN, name)
    )
    asyncio.run(_as_admin(postgres_server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def db(database: TestDatabase, tmp_path: Path) -> AsyncIterator[Database]:
    """Store, inbox, threads and queue on a fresh database."""
    async with open_database(home=tmp_path, url=database.url) as opened:
        yield opened


@pytest.fixture
async def owner(database: TestDatabase) -> AsyncIterator[Connection]:
    """A connection as the role that owns the tables."""
    connection = await connect(database.admin_url)
    yield connection
    await connection.close()


async def _as_admin(server: EmbeddedPostgres, statement: str) -> None:
    connection = await connect(server.dsn(ADMIN, "postgres"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
