"""What the processes use, once a minute, and whether it grows."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from agent.adapters.postgres import CONNECTION_ERRORS
from tests.chaos.service import Fleet

EVERY = 60.0
PAGE = os.sysconf("SC_PAGE_SIZE")
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"


async def told_each_minute(fleet: Fleet) -> None:
    """Prints resident memory, open files and connections, with what they have gained a minute
    since the first look; until cancelled. A process that was begun anew has little: look at the
    slope of a long time."""
    looks: list[dict[str, int]] = []
    while True:
        await asyncio.sleep(EVERY)
        known = looks[-1]["connections"] if looks else 0  # while PostgreSQL is away
        found = {"RSS MB": 0, "files": 0, "connections": known}
        for host in fleet.hosts:
            with suppress(OSError):
                place = Path(f"/proc/{host.pid}")
                found["RSS MB"] += int((place / "statm").read_text().split()[1]) * PAGE >> 20
                found["files"] += len(list((place / "fd").iterdir()))
        with suppress(*CONNECTION_ERRORS):
            found["connections"] = await fleet.road.db.pool.fetchval(CONNECTIONS)
        looks.append(found)
        gains = {name: slope([each[name] for each in looks]) for name in found}
        told = ", ".join(f"{name} {n} ({gains[name]:+.2f})" for name, n in found.items())
        print(f"{len(looks)} min: {told}", flush=True)


def slope(values: Sequence[int]) -> float:
    """Of the line through them, by least squares: gain from one to the next."""
    n = len(values)
    middle, mean = (n - 1) / 2, sum(values) / n
    spread = sum((at - middle) ** 2 for at in range(n))
    gain = sum((at - middle) * (value - mean) for at, value in enumerate(values))
    return gain / spread if spread else 0.0
