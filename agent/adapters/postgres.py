"""Connections to PostgreSQL and the state of its schema."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from enum import StrEnum
from typing import Any, Protocol, assert_never, cast
from urllib.parse import unquote, urlsplit

import asyncpg

from agent.errors import SettingsError, StoreUnavailable

#: Newest revision in alembic/versions, the one that this code works with.
SCHEMA = "0013"

#: What a lost, refused or restarting server raises.
CONNECTION_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)

Row = Mapping[str, Any]


class Connection(Protocol):
    """The part of asyncpg's connection that is used here; asyncpg itself has no types."""

    async def fetch(self, query: str, *args: object) -> Sequence[Row]: ...
    async def fetchrow(self, query: str, *args: object) -> Row | None: ...
    async def fetchval(self, query: str, *args: object) -> Any: ...
    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str: ...
    def transaction(self) -> AbstractAsyncContextManager[Any]: ...
    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None: ...
    def add_termination_listener(self, callback: Callable[..., None]) -> None: ...
    def is_closed(self) -> bool: ...
    async def close(self, *, timeout: float | None = None) -> None: ...
    def terminate(self) -> None: ...


class Pool(Protocol):
    async def fetch(self, query: str, *args: object) -> Sequence[Row]: ...
    async def fetchrow(self, query: str, *args: object) -> Row | None: ...
    async def fetchval(self, query: str, *args: object) -> Any: ...
    async def execute(self, query: str, *args: object) -> str: ...
    def acquire(self) -> AbstractAsyncContextManager[Connection]: ...
    async def close(self) -> None: ...
    def terminate(self) -> None: ...


_create_pool = cast("Callable[..., Awaitable[Pool]]", asyncpg.create_pool)  # pyright: ignore[reportUnknownMemberType]
_connect = cast("Callable[..., Awaitable[Connection]]", asyncpg.connect)  # pyright: ignore[reportUnknownMemberType]


class SchemaState(StrEnum):
    CURRENT = "current"
    MISSING = "missing"  # an empty database
    OLDER = "older"
    AHEAD = "ahead"  # newer, and says in installation.works_from that this code may go on
    NEWER = "newer"


async def open_pool(
    dsn: str,
    *,
    size: int,
    first: Callable[[Any], Awaitable[None]] | None = None,
    reserved: bool = False,
) -> Pool:
    """A pool that keeps one connection open; the others come with demand. `first` is done with
    each when it is opened. `reserved`: all are open from the beginning and never given up, so
    that they are there when the server has none left."""
    idle: dict[str, float] = {"max_inactive_connection_lifetime": 0.0} if reserved else {}
    with translated(), _explained(dsn):
        return await _create_pool(
            dsn,
            min_size=size if reserved else 1,
            max_size=size,
            timeout=10,
            reset=_as_it_is,
            init=first,
            **idle,
        )


async def _as_it_is(_: Connection) -> None:
    """Nothing here leaves anything on a connection, and each reset would be one more round trip.
    asyncpg itself rolls back, or drops, what was given back in the middle of a transaction."""


async def connect(dsn: str) -> Connection:
    with translated(), _explained(dsn):
        return await _connect(dsn, timeout=10)


@contextmanager
def translated() -> Generator[None]:
    """Tells a connection's failure as `StoreUnavailable`."""
    try:
        yield
    except CONNECTION_ERRORS as error:
        raise StoreUnavailable(
            f"PostgreSQL does not answer ({error or type(error).__name__}). What was stored "
            "before is kept; check that the server runs and DATABASE_URL leads to it.",
            retry_after=5.0,
        ) from error


@contextmanager
def _explained(dsn: str) -> Generator[None]:
    try:
        yield
    except (asyncpg.ClientConfigurationError, ValueError) as error:
        raise SettingsError(f"The URL of the {_told(dsn)} cannot be read: {error}") from error
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise SettingsError(f"The {_told(dsn)} refuses user and password: {error}") from error
    except asyncpg.InvalidCatalogNameError as error:
        raise SettingsError(f"There is no {_told(dsn)}: {error}") from error


def _told(dsn: str) -> str:
    """A database as it may be shown: the URL holds a password."""
    parts = urlsplit(dsn)
    return f"database {parts.path.lstrip('/') or '?'} on {parts.hostname or 'a local socket'}"


def user_of(dsn: str) -> str:
    """The role that a database URL logs in as."""
    name = urlsplit(dsn).username
    if not name:
        raise SettingsError(f"The URL of the {_told(dsn)} names no user: postgresql://user@host/…")
    return unquote(name)


async def schema_state(dsn: str) -> SchemaState:
    """Which revision stands in the database, compared with this code's."""
    connection = await connect(dsn)
    try:
        with translated():
            return await state_of(connection)
    finally:
        await connection.close()


async def state_of(connection: Connection | Pool) -> SchemaState:
    if not await connection.fetchval("SELECT to_regclass('public.alembic_version') IS NOT NULL"):
        return SchemaState.MISSING
    revision = str(await connection.fetchval("SELECT version_num FROM public.alembic_version"))
    if revision <= SCHEMA:
        return SchemaState.CURRENT if revision == SCHEMA else SchemaState.OLDER
    works_from = str(await connection.fetchval("SELECT works_from FROM public.installation"))
    return SchemaState.AHEAD if works_from <= SCHEMA else SchemaState.NEWER


def require_current(state: SchemaState) -> None:
    """Raises `SettingsError`, with what to run, unless the service can work with this schema."""
    match state:
        case SchemaState.CURRENT | SchemaState.AHEAD:
            return
        case SchemaState.NEWER:
            raise SettingsError(
                "The database was migrated by a newer Journeyman than this one. Start that "
                "version again, or restore the database as it was before the migration."
            )
        case SchemaState.OLDER:
            raise SettingsError(
                "The database's schema is older than this Journeyman. Run `journeyman migrate` "
                "with DATABASE_ADMIN_URL set, then start again."
            )
        case SchemaState.MISSING:
            raise SettingsError(
                "The database has no tables yet. Run `journeyman migrate` with "
                "DATABASE_ADMIN_URL set, then start again."
            )
        case _:
            assert_never(state)
