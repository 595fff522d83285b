"""Which user a box runs as.

Root never starts bubblewrap: what is root outside keeps powers inside. A service that root
started gives each open box a user of its own, so that boxes cannot reach each other and limits
can be counted; for an ordinary user there is nothing to choose.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from agent.errors import SandboxUnusable


class SandboxUsers:
    """Numbers out of `uids`, held by locks on files in `folder` while a box is open, so that
    several services on one host can share the range."""

    def __init__(self, folder: Path, uids: range) -> None:
        self._folder = folder
        self._uids = uids
        self._next = os.getpid() % len(uids)
        self._held: dict[Path, _Held] = {}  #: by workspace
        self.needed = os.geteuid() == 0

    def prefix(self, uid: int | None) -> list[str]:
        """What to put before a command so that it runs as that user."""
        if uid is None:
            return []
        return ["/usr/bin/setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"]

    def give(self, folder: Path) -> None:
        """Makes a folder belong to a sandbox user, its present owner if it is one."""
        if self.needed:
            owner = folder.lstat().st_uid
            if owner not in self._uids:
                self._next = (self._next + 1) % len(self._uids)
                owner = self._uids[self._next]
            change_owner(folder, owner)

    @contextlib.contextmanager
    def hold(self, workspace: Path) -> Generator[int | None]:
        """The user for a box on this workspace; a second box on it shares the user."""
        if not self.needed:
            yield None
            return
        held = self._held.get(workspace)
        if held is None:
            held = self._held[workspace] = self._take(workspace.lstat().st_uid)
        held.boxes += 1
        try:
            own(workspace, held.uid)
            yield held.uid
        finally:
            held.boxes -= 1
            if not held.boxes:
                del self._held[workspace]
                os.close(held.lock)

    def _take(self, preferred: int) -> _Held:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        first = [preferred] if preferred in self._uids else []
        for uid in [*first, *self._uids]:
            lock = os.open(self._folder / str(uid), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            return _Held(uid, lock)
        raise SandboxUnusable(
            f"All {len(self._uids)} sandbox users of this host are in use; nothing was started."
            " Run fewer at a time, or give the sandbox a wider range of user numbers."
        )


@dataclass
class _Held:
    uid: int
    lock: int
    boxes: int = 0


def own(folder: Path, uid: int | None) -> None:
    """Makes a folder with all that is in it belong to a user, unless it does already."""
    if uid is not None and folder.lstat().st_uid != uid:
        change_owner(folder, uid)


def change_owner(folder: Path, uid: int) -> None:
    # chown(1) follows no links and does not mind how deep a hostile tree is
    subprocess.run(
        ["/usr/bin/chown", "-RhP", f"{uid}:{uid}", "--", str(folder)],
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )
