"""Hard limits on memory and processes for a whole tree of processes, where this host gives them.

Two layouts are known: controllers of version 1 that root may use (build machines, containers),
and a delegated folder of version 2 (a systemd unit with `Delegate=memory pids`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.ports import CommandLimits

_ROOT = Path("/sys/fs/cgroup")
_CONTROLLERS = ("memory", "pids")
_PREFIX = "journeyman-"  # followed by the process id of the service


@dataclass(frozen=True, kw_only=True)
class Parents:
    """Folders in which groups can be made: one for both controllers in version 2."""

    memory: Path
    pids: Path
    cpu: Path  #: only read, for accounting
    version: int


def find_parents(root: Path = _ROOT, own: Path = Path("/proc/self/cgroup")) -> Parents | None:
    """Where groups can be made, proved by making one; None when this host gives none."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return None
    paths = {name: path.lstrip("/") for _, names, path in lines for name in names.split(",")}
    parents = _version_2(root, paths) or _version_1(root, paths)
    if parents is None:
        return None
    _sweep(parents)
    probe = Group(parents)
    try:
        probe.create()
        return parents if probe.limit(CommandLimits()) else None
    except OSError:
        return None
    finally:
        probe.remove()


def _sweep(parents: Parents) -> None:
    """Removes the empty groups of services that were killed."""
    for parent in {parents.memory, parents.pids, parents.cpu}:
        for folder in parent.glob(f"{_PREFIX}[0-9]*"):
            service = folder.name.removeprefix(_PREFIX).partition("-")[0]
            if not Path("/proc", service).exists():
                with contextlib.suppress(OSError):
                    folder.rmdir()


def _version_1(root: Path, paths: Mapping[str, str]) -> Parents | None:
    wanted = (*_CONTROLLERS, "cpuacct")
    if not all(name in paths for name in wanted):
        return None
    memory, pids, cpu = (root / name / paths[name] for name in wanted)
    return Parents(memory=memory, pids=pids, cpu=cpu, version=1)


def _version_2(root: Path, paths: Mapping[str, str]) -> Parents | None:
    own = root / paths.get("", "")
    if own.name == "journeyman-main":
        own = own.parent
    try:
        if not set(_CONTROLLERS) <= set((own / "cgroup.controllers").read_text().split()):
            return None
        if not set(_CONTROLLERS) <= set((own / "cgroup.subtree_control").read_text().split()):
            _make_room(own)
    except OSError:
        return None
    return Parents(memory=own, pids=own, cpu=own, version=2)


def _make_room(own: Path) -> None:
    """Controllers can be handed down only from a group without processes: ours step aside,
    provided that nobody else's are there."""
    inside = {int(pid) for pid in (own / "cgroup.procs").read_text().split()}
    if inside - {os.getpid()}:
        raise PermissionError("the group is shared with processes of others")
    aside = own / "journeyman-main"
    aside.mkdir(exist_ok=True)
    (aside / "cgroup.procs").write_text(str(os.getpid()))
    (own / "cgroup.subtree_control").write_text("+memory +pids")


class Group:
    """The processes of one box."""

    def __init__(self, parents: Parents) -> None:
        name = f"{_PREFIX}{os.getpid()}-{time.monotonic_ns()}"
        self._version = parents.version
        self._memory, self._pids = parents.memory / name, parents.pids / name
        self._cpu = parents.cpu / name
        self._folders = list(dict.fromkeys((self._memory, self._pids, self._cpu)))

    def create(self) -> None:
        for folder in self._folders:
            folder.mkdir()

    def limit(self, limits: CommandLimits) -> bool:
        """Sets both limits and reads them back; some hosts take them and do nothing."""
        size = limits.memory_mb * 1024 * 1024
        if self._version == 1:
            memory = self._memory / "memory.limit_in_bytes"
        else:
            memory = self._memory / "memory.max"
            _write_if_there(self._memory / "memory.swap.max", "0")
            _write_if_there(self._memory / "memory.oom.group", "1")
        try:
            memory.write_text(str(size))
        except OSError:  # what earlier commands left in the page cache is above it
            _write_if_there(self._memory / "memory.force_empty", "0")
            memory.write_text(str(size))
        pids = self._pids / "pids.max"
        pids.write_text(str(limits.processes + 3))  # bubblewrap's own two and their helper
        return (
            abs(int(memory.read_text()) - size) < 1_000_000 and pids.read_text().strip().isdigit()
        )

    def add(self, pid: int) -> None:
        for folder in self._folders:
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                (folder / "cgroup.procs").write_text(str(pid))

    def memory_kills(self) -> int:
        name = "memory.oom_control" if self._version == 1 else "memory.events"
        return _counter(self._memory / name, "oom_kill")

    def refused_processes(self) -> int:
        return _counter(self._pids / "pids.events", "max")

    def cpu_seconds(self) -> float:
        if self._version == 2:
            return _counter(self._cpu / "cpu.stat", "usage_usec") / 1e6
        try:
            return int((self._cpu / "cpuacct.usage").read_text()) / 1e9
        except OSError:
            return 0.0

    def kill(self) -> None:
        """Whatever is left; nothing in the usual case, since the namespace dies with its first."""
        with contextlib.suppress(OSError):
            if self._version == 2 and (self._memory / "cgroup.kill").exists():
                (self._memory / "cgroup.kill").write_text("1")
                return
            for pid in (self._pids / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)

    def remove(self) -> None:
        """Also right after a kill, when the kernel may need a moment to let go."""
        for folder in self._folders:
            for _ in range(50):
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    self.kill()
                    time.sleep(0.01)


def _write_if_there(path: Path, value: str) -> None:
    if path.exists():
        path.write_text(value)


def _counter(path: Path, name: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), 0)
