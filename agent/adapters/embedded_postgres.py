"""A PostgreSQL of our own, started with the first process of a home and stopped with the last."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import signal
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import BinaryIO
from urllib.parse import quote

from agent.adapters.postgres import connect
from agent.adapters.postgres_files import MAJOR, Layout, lay_out
from agent.errors import JourneymanError, SettingsError, StoreUnavailable

_log = logging.getLogger(__name__)

ADMIN = "journeyman_owner"
APP = "journeyman_app"
DATABASE = "journeyman"
_PATIENCE = 30.0  # seconds, for a start after a crash or a stop with a long checkpoint
_WATCH = 2.0  # seconds between two looks whether the server still listens
_LAUNCH = 0.3  # seconds within which a new server has mostly written its lock file
_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "listen_addresses": "''",
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "jit": "off",
        "max_parallel_maintenance_workers": "0",  # containers have little shared memory
        "log_timezone": "'UTC'",
        "timezone": "'UTC'",
        "log_min_messages": "warning",
    }
)


class EmbeddedPostgres:
    """`async with EmbeddedPostgres(home) as pg`: attaches to the home's server, or starts it.

    Users of the server hold a shared lock on a file, which the kernel takes from a process that
    dies in whatever way. The one that leaves last stops the server.
    """

    def __init__(self, home: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self._home = home
        self._settings = {**_SETTINGS, **(settings or {})}
        self._layout: Layout | None = None
        self._held: BinaryIO | None = None
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> EmbeddedPostgres:
        fresh = await asyncio.to_thread(self._enter)
        if fresh:
            try:
                await self._prepare()
            except BaseException:
                await asyncio.to_thread(self._leave)
                raise
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._watching and not self._watching.done():
            self._watching.cancel()
            await asyncio.wait({self._watching})
        await asyncio.to_thread(self._leave)

    @property
    def folder(self) -> Path:
        """Everything that the server keeps."""
        return self._where.folder

    @property
    def admin_dsn(self) -> str:
        """The role that owns and migrates the database."""
        return self.dsn(ADMIN, DATABASE)

    @property
    def app_dsn(self) -> str:
        """The role of the service: neither owner nor superuser."""
        return self.dsn(APP, DATABASE)

    def dsn(self, role: str, database: str) -> str:
        return f"postgresql://{role}@/{database}?host={quote(str(self._where.socket), safe='')}"

    @property
    def _where(self) -> Layout:
        if self._layout is None:
            raise RuntimeError("the server has not been entered")
        return self._layout

    def _enter(self) -> bool:
        """True when the roles and the database may still be missing."""
        self._layout = lay_out(self._home)
        with _locked(self.folder / "start.lock"):
            held = (self.folder / "users.lock").open("ab")
            try:
                fcntl.flock(held, fcntl.LOCK_SH)
                self._bring_up(self._layout)
            except BaseException:
                held.close()
                raise
            self._held = held
        return not (self.folder / "prepared").exists()

    async def _watch(self) -> None:
        """Starts the server again when it was killed, by the kernel for want of memory say."""
        while True:
            await asyncio.sleep(_WATCH)
            try:
                await asyncio.to_thread(self._revive, self._where)
            except JourneymanError as error:
                _log.error("postgres.not_revived", extra={"reason": str(error)})

    def _revive(self, layout: Layout) -> None:
        if _listens(layout):
            return
        with _locked(layout.folder / "start.lock"):
            self._bring_up(layout)

    def _bring_up(self, layout: Layout) -> None:
        if not (_listens(layout) and _becomes_ready(layout)):
            self._start(layout)

    def _start(self, layout: Layout) -> None:
        if not layout.data.exists():
            _initialise(layout, sync=self._settings.get("fsync") != "off")
        version = (layout.data / "PG_VERSION").read_text().strip()
        if version != str(MAJOR):
            raise SettingsError(
                f"{layout.data} was written by PostgreSQL {version}, this is {MAJOR}. Move that "
                "folder away to begin anew, or serve it with its own version and set DATABASE_URL."
            )
        (layout.data / "postgresql.conf").write_text(self._conf(layout))
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            _forget_dead(layout)
            # pg_ctl gives the server a session of its own: Ctrl-C in our terminal does not reach it
            layout.run("pg_ctl", "start", "-W", "-D", str(layout.data), "-l", str(layout.log))
            if _becomes_ready(layout):
                return
            time.sleep(0.1)  # what is left of a server that was killed is still ending
        tail = layout.log.read_text(errors="replace")[-500:] if layout.log.exists() else ""
        raise StoreUnavailable(
            f"The embedded PostgreSQL does not start. The end of {layout.log}: {tail}"
        )

    def _conf(self, layout: Layout) -> str:
        settings = {**self._settings, "unix_socket_directories": f"'{layout.socket}'"}
        return "".join(f"{name} = {value}\n" for name, value in settings.items())

    async def _prepare(self) -> None:
        connection = await connect(self.dsn(ADMIN, "postgres"))
        try:
            # two processes may both find the server fresh
            await connection.execute("SELECT pg_advisory_lock(7002)")
            if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", APP):
                await connection.execute(f"CREATE ROLE {APP} LOGIN")
            if not await connection.fetchval(
                "SELECT 1 FROM pg_database WHERE datname = $1", DATABASE
            ):
                await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {ADMIN}")
        finally:
            await connection.close()
        (self.folder / "prepared").touch()

    def _leave(self) -> None:
        held, self._held = self._held, None
        if held is None:
            return
        with held, _locked(self.folder / "start.lock"):
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            _stop(self._where)


class _locked:
    """Holds a file's lock; only one process of a home starts or stops the server at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._file = self._path.open("ab")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _initialise(layout: Layout, *, sync: bool) -> None:
    """Makes the data under another name first: a half-made cluster is never taken for one."""
    making = layout.folder / "data.new"
    shutil.rmtree(making, ignore_errors=True)
    layout.run(
        "initdb",
        *("-D", str(making), "-U", ADMIN, "--auth=trust", "--encoding=UTF8"),
        *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
        "--no-instructions",
        *(() if sync else ("--no-sync",)),
    )
    making.rename(layout.data)


def _forget_dead(layout: Layout) -> None:
    """Removes the lock files of a server whose process id now belongs to another program, or to
    nothing but a zombie: PostgreSQL would respect them for ever. It knows about other dead ones."""
    for lock in (layout.data / "postmaster.pid", layout.socket / ".s.PGSQL.5432.lock"):
        with suppress(FileNotFoundError):
            pid = int(lock.read_text().split()[0])
            if Path(f"/proc/{pid}").exists() and not _lives(pid):
                lock.unlink()


def _postmaster(layout: Layout) -> tuple[int, str] | None:
    """Process id and state as PostgreSQL's own lock file tells them; it may be stale."""
    try:
        lines = (layout.data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    return (int(lines[0]), lines[7].strip()) if len(lines) > 7 else None


def _lives(pid: int) -> bool:
    """Whether the process lives and is PostgreSQL: ids are used again after a restart."""
    try:
        name, state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return name.endswith("(postgres") and state.split()[0] != "Z"


def _listens(layout: Layout) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(layout.socket / ".s.PGSQL.5432"))
        except OSError:
            return False
    return True


def _becomes_ready(layout: Layout) -> bool:
    """Waits as long as a server is on its way; False when there is none."""
    begun = time.monotonic()
    while time.monotonic() - begun < _PATIENCE:
        found = _postmaster(layout)
        if found and _lives(found[0]):
            if found[1] == "ready" and _listens(layout):
                return True
        elif time.monotonic() - begun > _LAUNCH:
            return False
        time.sleep(0.01)
    return False


def _stop(layout: Layout) -> None:
    found = _postmaster(layout)
    if found is None or not _lives(found[0]):
        return
    for how in (signal.SIGINT, signal.SIGQUIT):  # fast, then immediate
        with suppress(ProcessLookupError):
            os.kill(found[0], how)
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if not _lives(found[0]):
                return
            time.sleep(0.01)
