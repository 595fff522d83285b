"""Whose a folder of the sandbox is: what a process that was killed has left can be told from what
another one works on. The kernel takes a lock from a process that dies in whatever way."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

_NAMED = re.compile(r"-([0-9a-f]{12})-[^-]*$")


@contextmanager
def held_by_nobody(lock: Path) -> Generator[bool]:
    """Whether no process has this file locked. If so, nobody can lock it meanwhile."""
    with ExitStack() as kept:
        try:
            fcntl.flock(kept.enter_context(lock.open("rb")), fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except FileNotFoundError:
            free = True
        except BlockingIOError:
            free = False
        yield free


class Owner:
    """This process, to those that share `folder` with it. Its name is part of the names of what it
    makes in `work`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = ""

    @property
    def name(self) -> str:
        while not self._name:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            name = secrets.token_hex(6)
            path = self._folder / name
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():  # else somebody took it for a dead one's just before it was locked
                self._name = name  # the lock is held until this process ends
            else:
                os.close(lock)
        return self._name

    def left(self, work: Path) -> Sequence[Path]:
        """The folders there whose owners have died. Those of nobody known are left alone."""
        return [each for each in work.iterdir() if self._dead(_NAMED.search(each.name))]

    def forget(self) -> None:
        """Drops the names of the dead, once nothing of theirs is left."""
        for lock in self._folder.glob("*"):
            with held_by_nobody(lock) as dead:  # who waits for the lock sees that it is gone
                if dead:
                    lock.unlink(missing_ok=True)

    def _dead(self, named: re.Match[str] | None) -> bool:
        if named is None:
            return False
        with held_by_nobody(self._folder / named[1]) as dead:
            return dead
