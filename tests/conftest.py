"""How tests share the machine, and a real PostgreSQL for them: one server a process, a fresh
database a test."""

from __future__ import annotations

import asyncio
import gc
import shutil
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from agent.adapters.database import Database, open_database
from agent.adapters.embedded_postgres import ADMIN, APP, EmbeddedPostgres
from agent.adapters.postgres import Connection, connect
from playground.janitor import sweep

TEMPLATE = "template_migrated"
_numbers = count(1)

#: What takes longest begins first: at the end of a run no process waits long for another one.
FIRST = ("e2e", "faults", "integration")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Only tests that share what is set up for their module stay together in one process."""
    items.sort(key=_turn)
    for item in items:
        if _has_module_fixture(item):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_collection_finish() -> None:
    """What was collected stays to the end: the garbage collector need not look at it again."""
    gc.collect()
    gc.freeze()


def _turn(item: pytest.Item) -> int:
    part = item.path.relative_to(Path(__file__).parent).parts[0]
    return FIRST.index(part) if part in FIRST else len(FIRST)


def _has_module_fixture(item: pytest.Item) -> bool:
    found = getattr(item, "_fixtureinfo", None)
    return found is not None and any(
        each.scope == "module" for known in found.name2fixturedefs.values() for each in known
    )


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    from agent.adapters.migration import migrate

    sweep()  # what sessions that were killed have left
    small = {"fsync": "off", "shared_buffers": "32MB"}  # one of several, and its data is small
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), settings=small)

    async def start() -> None:
        await server.__aenter__()
        await _as_admin(server, f"CREATE DATABASE {TEMPLATE}")
        await migrate(server.dsn(ADMIN, TEMPLATE), APP)
        unmarked = "UPDATE installation SET mark = ''"  # tests name branches by the run's number
        await _as_admin(server, unmarked, TEMPLATE)

    asyncio.run(start())
    yield server
    folder = server.folder
    asyncio.run(server.__aexit__(None, None, None))
    shutil.rmtree(folder)  # run by root, it lies outside pytest's own folders


@pytest.fixture
def database(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """The name of a migrated, empty database."""
    name = f"test_{next(_numbers)}"
    asyncio.run(
        _as_admin(postgres_server, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
    )
    yield name
    asyncio.run(_as_admin(postgres_server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def database_url(postgres_server: EmbeddedPostgres, database: str) -> str:
    """As the service connects: neither owner nor superuser."""
    return postgres_server.dsn(APP, database)


@pytest.fixture
def admin_url(postgres_server: EmbeddedPostgres, database: str) -> str:
    return postgres_server.dsn(ADMIN, database)


@pytest.fixture
async def db(database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    """Store, inbox, threads and queue on a fresh database."""
    async with open_database(home=tmp_path, url=database_url) as opened:
        yield opened


@pytest.fixture
async def owner(admin_url: str) -> AsyncIterator[Connection]:
    """A connection as the role that owns the tables."""
    connection = await connect(admin_url)
    yield connection
    await connection.close()


async def _as_admin(server: EmbeddedPostgres, statement: str, database: str = "postgres") -> None:
    connection = await connect(server.dsn(ADMIN, database))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
