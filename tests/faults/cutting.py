"""The service as in quick.py, with time limits of about a second for whoever hangs.

As a program: `journeyman` with its own arguments.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from quick import quicken

import agent.adapters.pg_queue as queue
import agent.adapters.postgres_lease as lease

HANG = 6.0  #: seconds; longer than all of these


def hasten(put: Callable[[Any, str, Any], None] = setattr) -> None:
    begin = functools.partialmethod(queue.PgQueue.__init__, hung=1.0)
    put(queue.PgQueue, "__init__", begin)
    put(queue, "_MEND", 1.0)
    put(lease, "LENGTH", 2.0)
    put(lease, "_EVERY", 0.4)
    put(lease, "_MARGIN", 0.5)


if __name__ == "__main__":
    from bot.cli import main

    quicken()
    hasten()
    sys.exit(main())
