"""Connections to PostgreSQL and the state of its schema."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from enum import StrEnum
from typing import Any, Protocol, assert_never, cast
from urllib.parse import unquote, urlsplit

import asyncpg

from agent.adapters import postgres_links as links
from agent.adapters.postgres_links import BoundedPool, WatchedConnection
from agent.errors import SettingsError, StoreUnavailable

#: Newest revision in alembic/versions, the one that this code works with.
SCHEMA = "0013"

#: Of two transactions that are in each other's way, PostgreSQL gives up one.
CONTENTION: tuple[type[Exception], ...] = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)
#: What a lost, refused or restarting server raises, and one that cannot do it now.
CONNECTION_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,  # disk, memory, connections
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    *CONTENTION,
)
#: What a person can do about it; the first that fits.
REMEDIES: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    (
        (asyncpg.DiskFullError,),
        "has no room left on its disk",
        "work goes on by itself as soon as there is room: free some, or give it a larger disk.",
    ),
    (
        (asyncpg.TooManyConnectionsError,),
        "has no connection left",
        "work goes on by itself as soon as there is one: raise max_connections or the role's "
        "limit, or start fewer processes.",
    ),
    (
        (asyncpg.ReadOnlySQLTransactionError,),
        "takes no changes at present",
        "work goes on by itself as soon as it does: check why the server is read only, and that "
        "DATABASE_URL leads to the one that is not.",
    ),
    (
        CONTENTION,
        "gave this up time and again, since something else was in its way",
        "it is tried again by itself; tell us if it stays so.",
    ),
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
    def acquire(
        self, *, timeout: float | None = None
    ) -> AbstractAsyncContextManager[Connection]: ...
    def get_size(self) -> int: ...
    def get_idle_size(self) -> int: ...
    def get_max_size(self) -> int: ...
    async def close(self) -> None: ...
    def terminate(self) -> None: ...


_create_pool = cast("Callable[..., Awaitable[Pool]]", BoundedPool)
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
    answer: float | None = None,
) -> Pool:
    """A pool that keeps one connection open; the others come with demand. `first` is done with
    each when it is opened. `reserved`: all are open from the beginning and never given up, so
    that they are there when the server has none left. `answer`: seconds for any one statement;
    whoever sets it may leave a transaction alone meanwhile."""
    abandoned = {} if answer else {"idle_in_transaction_session_timeout": "15s"}
    with translated(), _explained(dsn):
        return await _create_pool(
            dsn,
            min_size=size if reserved else 1,
            max_size=size,
            max_queries=50_000,
            max_inactive_connection_lifetime=0.0 if reserved else 300.0,
            timeout=links.CONNECTED,
            command_timeout=answer or links.ANSWER,
            server_settings={**links.SETTINGS, **abandoned},
            connection_class=WatchedConnection,
            record_class=asyncpg.Record,
            loop=None,
            setup=None,
            init=first,
            reset=_as_it_is,
        )


async def _as_it_is(_: Connection) -> None:
    """Nothing here leaves anything on a connection, and each reset would be one more round trip.
    asyncpg itself rolls back, or drops, what was given back in the middle of a transaction."""


async def connect(dsn: str) -> Connection:
    with translated(), _explained(dsn):
        return await _connect(
            dsn,
            timeout=links.CONNECTED,
            server_settings=links.SETTINGS,
            connection_class=WatchedConnection,
        )


@contextmanager
def translated() -> Generator[None]:
    """Tells a connection's failure as `StoreUnavailable`."""
    try:
        yield
    except CONNECTION_ERRORS as error:
        what, remedy = "does not answer", "check that the server runs and DATABASE_URL leads to it."
        for kinds, its, advice in REMEDIES:
            if isinstance(error, kinds):
                what, remedy = its, advice
                break
        raise StoreUnavailable(
            f"PostgreSQL {what} ({str(error) or type(error).__name__}). What was stored before is "
            f"kept; {remedy}",
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
