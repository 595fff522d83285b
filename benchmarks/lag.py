"""`python -m benchmarks.lag FILE ARGUMENT …` is `journeyman ARGUMENT …`, with a probe of its event
loop: who wants to be woken every 10 ms, and how much later that is."""

from __future__ import annotations

import asyncio
import ctypes
import json
import signal
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

TICK = 0.01
_PR_SET_PDEATHSIG = 1
_TELL = 100  # ticks between two writes of the file


class Probe:
    """Counts by whole milliseconds, so that a long run takes no memory."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._late: dict[int, int] = {}

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        ticks = 0
        while True:
            due = loop.time() + TICK
            await asyncio.sleep(TICK)
            late = int(1000 * max(0.0, loop.time() - due))
            self._late[late] = self._late.get(late, 0) + 1
            ticks += 1
            if ticks % _TELL == 0:
                self._file.write_text(json.dumps(self._late))


def read(file: Path, since: dict[int, int] | None = None) -> dict[int, int]:
    """Milliseconds → how often so late, without what was counted before."""
    counts: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    before = since or {}
    return {int(late): n - before.get(int(late), 0) for late, n in counts.items()}


def quantile(counts: dict[int, int], share: float) -> int:
    """Milliseconds that this share was not later than."""
    rest = share * sum(counts.values())
    for late in sorted(counts):
        rest -= counts[late]
        if rest <= 0:
            return late
    return 0


def end_with_parent() -> None:
    """Whatever ends the benchmark leaves nothing of it behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    end_with_parent()
    file, *sys.argv[1:] = sys.argv[1:]
    run = asyncio.run

    def probed(main: Coroutine[Any, Any, Any], **options: Any) -> Any:
        async def both() -> Any:
            probe = asyncio.create_task(Probe(Path(file)).serve())
            try:
                return await main
            finally:
                probe.cancel()

        if threading.current_thread() is not threading.main_thread():
            return run(main, **options)  # the heartbeats have a loop of their own
        return run(both(), **options)

    asyncio.run = probed
    from bot.cli import main as journeyman

    sys.exit(journeyman())


if __name__ == "__main__":
    main()
