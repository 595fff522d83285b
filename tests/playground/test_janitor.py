"""What is removed below the system's folder, and what never is."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playground.janitor import sweep

GONE = Path(tempfile.gettempdir()) / "journeyman-that-is-gone" / "service-1"
#: Not as its parent may have it: what a shell starts in the background ignores SIGINT and SIGQUIT.
WAITS = """
import signal
for each in (signal.SIGINT, signal.SIGQUIT):
    signal.signal(each, signal.SIG_DFL)
print("waits", flush=True)
signal.pause()
"""


def left(system: Path, name: str, home: Path | str) -> Path:
    """What a home of that path has left."""
    folder = system / name
    (folder / "work" / "deep").mkdir(parents=True)
    (folder / "home").write_text(str(home))
    return folder


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", WAITS, *arguments], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"waits\n"
        yield process
    finally:
        process.stdout.close()
        process.kill()
        process.wait()


def test_what_a_temporary_home_left_that_is_gone_is_removed(tmp_path: Path) -> None:
    system = tmp_path / "system"
    both = [left(system, "ab12", GONE), left(system, "sandbox-ab12", GONE)]
    assert sweep(system, young=0) == both
    assert list(system.iterdir()) == []


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    system, home = tmp_path / "system", tmp_path / "home"
    home.mkdir()
    left(system, "stands", home)
    left(system, "elsewhere", "/mnt/a-disk-that-is-not-there/home")
    left(system, "empty", "")
    left(system, "roundabout", f"{tempfile.gettempdir()}/../srv/journeyman")
    left(system, "young", GONE)
    (system / "no-record").mkdir()
    (system / "postgres").write_text("a file")
    kept = sorted(system.iterdir())
    assert sweep(system) == []
    (system / "young/home").unlink()
    assert sweep(system, young=0) == []
    assert sorted(system.iterdir()) == kept


def test_a_database_that_a_service_holds_is_left_alone(tmp_path: Path) -> None:
    folder = left(tmp_path / "system", "ab12", GONE)
    with (folder / "users.lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        assert sweep(folder.parent, young=0) == []
    assert sweep(folder.parent, young=0) == [folder]


def test_a_server_left_behind_is_ended_and_nothing_else_of_its_number(tmp_path: Path) -> None:
    mine = left(tmp_path / "system", "ab12", GONE)
    other = left(tmp_path / "system", "cd34", GONE)
    for folder in (mine, other):
        (folder / "data").mkdir()
    with running("-D", str(mine / "data")) as server, running() as stranger:
        (mine / "data/postmaster.pid").write_text(f"{server.pid}\nmore\n")
        (other / "data/postmaster.pid").write_text(f"{stranger.pid}\nmore\n")
        assert sweep(mine.parent, young=0) == [mine, other]
        assert server.wait(10) != 0
        assert stranger.poll() is None
