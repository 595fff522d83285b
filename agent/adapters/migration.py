"""The schema brought to the revision of this code. Imports alembic: only for who migrates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from agent.adapters.postgres import SchemaState, schema_state, translated
from agent.errors import SettingsError
from alembic import command

SCRIPTS = Path(__file__).parents[2] / "alembic"


async def migrate(admin_dsn: str, app_role: str) -> None:
    """Migrates and grants as the admin; `app_role` is who the service logs in as."""
    if await schema_state(admin_dsn) in {SchemaState.NEWER, SchemaState.AHEAD}:
        raise SettingsError(
            "The database was migrated by a newer Journeyman than this one; it is left as it is."
        )
    engine = create_async_engine(_for_sqlalchemy(admin_dsn))
    try:
        with translated():
            async with engine.begin() as connection:
                await connection.run_sync(_upgrade, app_role)
    finally:
        await engine.dispose()


def config(**attributes: Any) -> Config:
    made = Config()
    made.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    made.attributes.update(attributes)
    return made


def _upgrade(connection: Connection, app_role: str) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(7003)"))  # one migration at a time
    command.upgrade(config(connection=connection, app_role=app_role), "head")


def _for_sqlalchemy(dsn: str) -> str:
    scheme, _, rest = dsn.partition("://")
    if scheme not in {"postgresql", "postgres"}:
        raise SettingsError("A database URL begins with postgresql://.")
    return f"postgresql+asyncpg://{rest}"
