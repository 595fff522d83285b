"""The service as in quick.py, with a night's work that does something, and shorter leases.

As a program: `journeyman` with its own arguments.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from quick import quicken
from turned import turned

import agent.adapters.postgres_lease as lease
import agent.maintenance.shift as shift
import bot.roles.work
from agent.maintenance.night import Task


def stage(put: Callable[[Any, str, Any], None] = setattr) -> None:
    put(shift, "TASKS", {Task.LINT: turned})
    put(shift, "PAUSE", 0.1)
    short = functools.partial(shift.NightShift, lease=timedelta(seconds=3))
    put(bot.roles.work, "NightShift", short)
    put(lease, "LENGTH", 3.0)
    put(lease, "_EVERY", 0.5)


if __name__ == "__main__":
    from bot.cli import main

    quicken()
    stage()
    sys.exit(main())
