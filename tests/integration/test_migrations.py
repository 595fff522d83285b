"""The schema's way up and down, and which versions of the code may work with which schema."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection as Raw
from sqlalchemy.ext.asyncio import create_async_engine

from agent.adapters.database import migrate_database, open_database
from agent.adapters.embedded_postgres import APP
from agent.adapters.migration import config
from agent.adapters.postgres import SCHEMA, Connection, connect, schema_state
from agent.errors import SettingsError
from alembic import command

COLUMNS = """
SELECT table_name, column_name, data_type, is_nullable, column_default
FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"""
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"


async def to(admin_url: str, revision: str) -> None:
    engine = create_async_engine(admin_url.replace("postgresql://", "postgresql+asyncpg://"))

    def move(raw: Raw) -> None:
        attributes = config(connection=raw, app_role=APP)
        if revision < SCHEMA:
            command.downgrade(attributes, revision)
        else:
            command.upgrade(attributes, revision)

    async with engine.begin() as connection:
        await connection.run_sync(move)
    await engine.dispose()


async def shape(owner: Connection) -> list[tuple[object, ...]]:
    rows = [*await owner.fetch(COLUMNS), *await owner.fetch(INDEXES)]
    return [tuple(row.values()) for row in rows]


async def test_limits_and_turns_go_down_and_up_again_beside_runs_that_wait(
    owner: Connection, admin_url: str, database_url: str
) -> None:
    before = await shape(owner)
    await to(admin_url, "0012")
    assert await shape(owner) != before
    await owner.execute(
        "INSERT INTO runs (key, team, channel, thread_ts, message_ts, project, status, request,"
        " limits) VALUES ('a', 'T', 'C', '1', '1', 'shop', 'waiting_for_approval', '{}', '{}')"
    )
    await owner.execute("INSERT INTO projects (id, max_runs) VALUES ('shop', 3)")
    await to(admin_url, SCHEMA)
    assert await shape(owner) == before
    service = await connect(database_url)
    try:
        assert await service.fetchval("SELECT turn FROM runs") == 0
        row = await service.fetchrow("SELECT max_runs, told_max FROM projects")
        assert row is not None
        assert tuple(row.values()) == (3, None)
        await service.execute("UPDATE fleet SET max_runs = 7, turn = 2")
        await service.execute("UPDATE projects SET told_max = 1")
        await service.execute("INSERT INTO leases VALUES ('a', 'me', now())")
        await service.execute("DELETE FROM leases")
    finally:
        await service.close()


@pytest.mark.parametrize(
    ("works_from", "state"), [("0000", "ahead"), (SCHEMA, "ahead"), ("9999", "newer")]
)
async def test_a_newer_schema_says_how_old_a_code_may_be(
    owner: Connection,
    admin_url: str,
    database_url: str,
    tmp_path: Path,
    works_from: str,
    state: str,
) -> None:
    await owner.execute("UPDATE alembic_version SET version_num = '9999'")
    await owner.execute("UPDATE installation SET works_from = $1", works_from)
    assert await schema_state(database_url) == state
    if state == "ahead":
        async with open_database(home=tmp_path, url=database_url) as database:
            assert await database.store.runs() == []
    else:
        with pytest.raises(SettingsError, match="newer Journeyman"):
            async with open_database(home=tmp_path, url=database_url):
                pass
    with pytest.raises(SettingsError, match="newer Journeyman than this one; it is left"):
        await migrate_database(home=tmp_path, url=database_url, admin_url=admin_url)
    assert await owner.fetchval("SELECT version_num FROM alembic_version") == "9999"
