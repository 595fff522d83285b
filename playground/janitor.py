"""Removes what playgrounds and tests have left outside their folders.

Run by root, the database and the sandboxes of a home lie below the system's folder, each with a
note of whose they are. Only those of a temporary home are removed: another one that is not there
may be on a disk that is not there either.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from agent.adapters.sandbox_owner import held_by_nobody
from bot.build import SYSTEM_FOLDER

_YOUNG = 3600.0  # seconds in which the home itself may still be made


def sweep(folder: Path = SYSTEM_FOLDER, *, young: float = _YOUNG) -> Sequence[Path]:
    """Gives what it removed: folders whose note is older than `young` seconds, whose temporary
    home is gone, and that no service has open."""
    return [note.parent for note in sorted(folder.glob("*/home")) if _swept(note, young)]


def forget(home: Path, folder: Path = SYSTEM_FOLDER) -> list[Path]:
    """Lets the playground of this home begin anew, at its old addresses. Gives what it leaves to
    `remove`, which takes a while."""
    left = [note.parent for note in folder.glob("*/home") if _belongs(note, home)]
    for kept in (home / "mark", home / "stand-ins.pickle", *home.glob("linked-*")):
        kept.unlink(missing_ok=True)
    gitlab = home / "gitlab"
    if gitlab.exists():
        gitlab.rename(home / f"gitlab-{time.time_ns()}")
    return [*left, *home.glob("gitlab-*"), *home.glob("service-*")]


def remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        _remove(folder)


def _belongs(note: Path, home: Path) -> bool:
    try:
        return home.resolve() in Path(note.read_text()).parents
    except OSError:
        return False  # removed meanwhile


def _swept(note: Path, young: float) -> bool:
    folder = note.parent
    try:
        home = Path(note.read_text())
        if not _temporary(home) or os.path.lexists(home):
            return False
        if time.time() - note.stat().st_mtime < young:
            return False
        _remove(folder)
    except OSError:
        return False
    return not folder.exists()


def _remove(folder: Path) -> None:
    """Unless a service holds the folder's database."""
    with held_by_nobody(folder / "users.lock") as free:
        if not free:
            return
        _end_server(folder)
        # rm(1) does not mind how deep the tree of a hostile command is
        subprocess.run(
            ["/usr/bin/rm", "-rf", "--", str(folder)], stderr=subprocess.DEVNULL, check=False
        )


def _temporary(home: Path) -> bool:
    places = {Path(place).resolve() for place in ("/tmp", "/var/tmp", tempfile.gettempdir())}
    return ".." not in home.parts and bool(places & {*home.parents})


def _end_server(folder: Path) -> None:
    """A server outlives whoever started it and was killed."""
    data = folder / "data"
    with suppress(OSError, ValueError):
        pid = int((data / "postmaster.pid").read_text().split()[0])
        if os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            os.kill(pid, signal.SIGQUIT)
