"""Ends a command that outgrows limits which the kernel does not hold by itself on this host.

Soft limits: what grows faster than the watchdog looks is seen late.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from agent.adapters.cgroups import Group
from agent.ports import CommandLimits

Reason = Literal["memory", "processes", "disk"]

_FIRST_LOOK = 0.2  # most commands have ended by then, and pay nothing
_INTERVAL = 0.05
_INTERVAL_WITH_GROUP = 0.25
_WALK_EVERY = 10.0
_WALK_AFTER_GROWTH = 64 * 1024 * 1024
_REFUSALS = 2000  # forks that the kernel refused; a fork bomb makes thousands
_MB = 1024 * 1024
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Disk:
    """What the writable folders of a box hold, measured seldom: free space tells when to look."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._base: int | None = None
        self._free = 0
        self._walked_at = 0.0
        self._walk_took = 0.0

    def exceeded(self, limit: int) -> bool:
        """Blocks while it walks: for a thread."""
        free = sum(_free(folder) for folder in self._folders[:1])
        now = time.monotonic()
        since = now - self._walked_at
        shrunk = self._free - free > min(_WALK_AFTER_GROWTH, limit // 4)
        due = since > _WALK_EVERY or (shrunk and since > 4 * self._walk_took)
        if self._base is not None and not due:
            return False
        cap = None if self._base is None else self._base + limit
        used = sum(_used(folder, cap) for folder in self._folders)
        self._free, self._walked_at = free, now
        self._walk_took = time.monotonic() - now
        if self._base is None:
            self._base = used
        return used > self._base + limit


async def watch(pid: int, limits: CommandLimits, group: Group | None, disk: Disk) -> Reason:
    """Returns when the command below `pid` has to be ended, with the reason."""
    refused = group.refused_processes() if group else 0
    await asyncio.sleep(_FIRST_LOOK)
    while True:
        if group:
            if group.refused_processes() - refused > _REFUSALS:
                return "processes"
        else:
            threads, resident = await asyncio.to_thread(_tree, pid)
            if resident > limits.memory_mb * _MB:
                return "memory"
            if threads > limits.processes + 3:
                return "processes"
        if await asyncio.to_thread(disk.exceeded, limits.disk_mb * _MB):
            return "disk"
        await asyncio.sleep(_INTERVAL_WITH_GROUP if group else _INTERVAL)


def _tree(pid: int) -> tuple[int, int]:
    """Threads and resident bytes of all descendants of a process."""
    children: dict[int, list[tuple[int, int, int]]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            stat = (folder / "stat").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        fields = stat[stat.rindex(b")") + 2 :].split()
        parent, threads, resident = int(fields[1]), int(fields[17]), int(fields[21])
        children.setdefault(parent, []).append((int(folder.name), threads, resident))
    threads = resident = 0
    todo = [pid]
    while todo:
        for child, its_threads, its_resident in children.get(todo.pop(), ()):
            threads += its_threads
            resident += its_resident
            todo.append(child)
    return threads, resident * _PAGE


def _free(folder: Path) -> int:
    try:
        facts = os.statvfs(folder)
    except OSError:
        return 0
    return facts.f_bavail * facts.f_frsize


def _used(folder: Path, cap: int | None) -> int:
    """Bytes on disk below a folder, links not followed; stops counting beyond `cap`."""
    total = 0
    todo: list[str] = [str(folder)]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                        if entry.is_dir(follow_symlinks=False):
                            todo.append(entry.path)
                        else:
                            total += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:  # removed or closed to us
            continue
        if cap is not None and total > cap:
            break
    return total
