"""What PostgreSQL is at work for."""

from __future__ import annotations

import os
import time
from pathlib import Path

from agent.adapters.postgres_files import lay_out


def cpu(home: Path) -> float:
    """Seconds that this process and PostgreSQL's were at work, whatever else the machine did."""
    server = int((lay_out(home).folder / "data/postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    ticks = sum(map(int, _stat(server)[11:15]))  # and of those that ended
    ticks += sum(int(t) for child in children for t in _stat(int(child))[11:13])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """From the state on; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
