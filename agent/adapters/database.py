"""Everything that PostgreSQL keeps, opened at one place."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.adapters.embedded_postgres import APP, EmbeddedPostgres
from agent.adapters.postgres import (
    Pool,
    SchemaState,
    open_pool,
    require_current,
    state_of,
    translated,
    user_of,
)
from agent.adapters.postgres_claim import LEASE
from agent.adapters.postgres_code import PostgresCode
from agent.adapters.postgres_digests import DigestStore
from agent.adapters.postgres_inbox import Inbox
from agent.adapters.postgres_listener import Listener
from agent.adapters.postgres_merges import PostgresMerges
from agent.adapters.postgres_nights import NightStore
from agent.adapters.postgres_outcomes import OutcomeLogs
from agent.adapters.postgres_people import PeopleStore
from agent.adapters.postgres_pushes import PushStore
from agent.adapters.postgres_rounds import RoundStore
from agent.adapters.postgres_store import PostgresStore
from agent.adapters.postgres_threads import ThreadStore
from agent.adapters.postgres_vectors import PostgresVectors
from agent.adapters.postgres_waits import WaitingRuns
from agent.errors import SettingsError

if TYPE_CHECKING:
    from agent.adapters.pg_queue import PgQueue

_POOL = 10
_RESERVED = 2  # connections, for what must be answered while all others are taken
#: Held by workers that have shown no sign of life for much longer than any lease.
LEFT_JOBS = """
SELECT count(*) FROM engine.pgqueuer
WHERE status = 'picked' AND heartbeat < now() - interval '1 minute'"""
UNFIT_ROLE = """
SELECT rolsuper OR rolbypassrls OR pg_has_role(current_user, c.relowner, 'member')
FROM pg_roles, pg_class c WHERE rolname = current_user AND c.oid = 'public.events'::regclass"""


@dataclass(frozen=True, kw_only=True)
class Database:
    dsn: str
    pool: Pool
    listener: Listener
    store: PostgresStore
    inbox: Inbox
    threads: ThreadStore
    people: PeopleStore
    nights: NightStore
    digests: DigestStore
    outcomes: OutcomeLogs
    code: PostgresCode
    vectors: PostgresVectors
    merges: PostgresMerges
    pushes: PushStore
    waits: WaitingRuns
    rounds: RoundStore

    async def check(self) -> None:
        """Raises `StoreUnavailable`, or `SettingsError` where the schema is not this version's."""
        with translated():
            require_current(await state_of(self.pool))

    async def queue_problem(self) -> str:
        """What keeps work from being given out, in a sentence; empty when nothing does."""
        if not self.listener.hears:
            return "Notifications of PostgreSQL are not received: it is being connected to again."
        with translated():
            left = await self.pool.fetchval(LEFT_JOBS)
        if left:
            return f"{left} jobs are held by processes that are gone, and nobody takes them."
        return ""

    def queue(self, *, projects: Collection[str] | None = None, lease: float = LEASE) -> PgQueue:
        """`projects`: whose runs this process takes, None for all. `lease`: seconds after which
        another worker takes a dead one's jobs. Imports PgQueuer."""
        from agent.adapters.pg_queue import PgQueue

        return PgQueue(
            self.dsn,
            self.pool,
            self.listener,
            projects=projects,
            fleet=self.store.fleet,
            lease=lease,
        )


@asynccontextmanager
async def open_database(
    *, home: Path, url: str = "", fleet: int | None = None
) -> AsyncGenerator[Database]:
    """With an empty `url` the embedded server of `home`, migrated where it has to be. Another
    server is left as it is: raises `SettingsError` when its schema is not this version's.
    `fleet`: how many runs may be at work at once."""
    async with AsyncExitStack() as stack:
        if url:
            pool = await _opened(stack, url)
            with translated():
                require_current(await state_of(pool))
                await _refuse_powerful_role(pool, url)
        else:
            postgres = await stack.enter_async_context(EmbeddedPostgres(home))
            url = postgres.app_dsn
            pool = await _opened(stack, url)
            with translated():
                state = await state_of(pool)
            if state not in {SchemaState.CURRENT, SchemaState.AHEAD}:
                await migrate_database(home=home)
        reserved = await open_pool(url, size=_RESERVED, reserved=True)
        stack.push_async_callback(reserved.close)
        listener = await stack.enter_async_context(Listener(url))
        code = PostgresCode(url)
        stack.push_async_callback(code.close)
        vectors = PostgresVectors(url, code)
        stack.push_async_callback(vectors.close)
        yield Database(
            dsn=url,
            pool=pool,
            listener=listener,
            store=PostgresStore(pool, listener, fleet=fleet),
            inbox=Inbox(pool, reserved),
            threads=ThreadStore(pool, reserved),
            people=PeopleStore(pool),
            nights=NightStore(pool),
            digests=DigestStore(pool),
            outcomes=OutcomeLogs(pool),
            code=code,
            vectors=vectors,
            merges=PostgresMerges(code),
            pushes=PushStore(pool, listener),
            waits=WaitingRuns(pool),
            rounds=RoundStore(pool),
        )


async def migrate_database(*, home: Path, url: str = "", admin_url: str = "") -> None:
    """Brings the schema to this version, and grants what the service needs to `url`'s user."""
    from agent.adapters.migration import migrate

    if not url:
        async with EmbeddedPostgres(home) as postgres:
            await migrate(postgres.admin_dsn, APP)
        return
    if not admin_url:
        raise SettingsError(
            "DATABASE_ADMIN_URL is not set. Set it to the URL of the role that owns the database; "
            "the service's own role, in DATABASE_URL, may not change the schema."
        )
    await migrate(admin_url, user_of(url))


async def _opened(stack: AsyncExitStack, dsn: str) -> Pool:
    pool = await open_pool(dsn, size=_POOL)
    stack.push_async_callback(pool.close)
    return pool


async def _refuse_powerful_role(pool: Pool, url: str) -> None:
    if await pool.fetchval(UNFIT_ROLE):
        raise SettingsError(
            f"The role {user_of(url)} of DATABASE_URL is a superuser, owns the tables or may pass"
            " by row-level security, so it could rewrite the log or read across projects. Use a"
            " role of its own for the service, run `journeyman migrate` with the owner's URL in"
            " DATABASE_ADMIN_URL, then start again."
        )
