"""A PostgreSQL that refuses what is written to one of its tables, with an error of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count

from agent.adapters.postgres import connect

SERIALIZATION, DEADLOCK = "40001", "40P01"
DISK_FULL, READ_ONLY, TOO_MANY = "53100", "25006", "53300"
_numbers = count(1)


@asynccontextmanager
async def refusing(
    admin_url: str,
    table: str,
    state: str,
    *,
    which: str = "<= 1",
    told: str = "refused by a test",
) -> AsyncGenerator[Callable[[], Awaitable[int]]]:
    """Refuses the nth statement that writes there, if n is `which`; `told` is what it says then.
    Gives how many there were. A sequence counts, which no rollback undoes."""
    name = f"refusing_{next(_numbers)}"
    owner = await connect(admin_url)
    try:
        await owner.execute(f"""
            CREATE SEQUENCE {name};
            CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
            BEGIN
                IF nextval('public.{name}') {which} THEN
                    RAISE EXCEPTION '{told}' USING ERRCODE = '{state}';
                END IF;
                RETURN NULL;
            END $$;
            CREATE TRIGGER {name} BEFORE INSERT OR UPDATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION {name}()""")

        async def tried() -> int:
            return int(
                await owner.fetchval(
                    f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {name}"
                )
            )

        yield tried
        await owner.execute(f"DROP TRIGGER {name} ON {table}; DROP FUNCTION {name}()")
    finally:
        await owner.close()
