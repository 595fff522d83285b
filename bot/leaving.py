"""A process that was told to stop ends within a time, whatever hangs in it, and leaves no child."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

log = logging.getLogger("journeyman")

#: Seconds: 20 for steps to be handed back, the rest for everything else.
LIMIT = 30.0
_TOLD = 2.0  # more, for saying so


def bound() -> None:
    """From now on. What is not handed back by then is taken over by others, as of a process that
    was killed."""
    timer = threading.Timer(LIMIT, _leave)
    timer.daemon = True
    timer.start()


def _leave() -> None:
    telling = threading.Thread(target=_tell, daemon=True)
    telling.start()
    telling.join(_TOLD)
    for child in _descendants(os.getpid()):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(child, signal.SIGKILL)
    os._exit(1)


def _tell() -> None:
    """Where nobody reads what it says any more, it may never return."""
    log.error("stop_hangs", extra={"seconds": LIMIT})
    faulthandler.dump_traceback(sys.stderr)


def _descendants(process: int) -> Sequence[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            # the name, in brackets, may hold anything
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [process]
    for each in found:  # grows meanwhile
        found += children.get(each, ())
    return found[1:]
