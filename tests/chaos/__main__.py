"""`python -m tests.chaos`: many runs while everything fails, and whether they all came to an end.

Prints its seed, the figures in one line, and on failure the timeline of what was done and what the
oracle found; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.world import Outcome, Wanted, chaos


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="of a run before, to repeat it")
    parser.add_argument("--seconds", type=float, default=600, help="for which havoc goes on")
    parser.add_argument("--runs", type=int, default=0, help="0: one for each two seconds")
    for role, count in (("workers", 2), ("fronts", 2), ("effects", 1)):
        parser.add_argument(f"--{role}", type=int, default=count)
    parser.add_argument("--drain", type=float, default=180, help="seconds for what is left then")
    parser.add_argument("--keep", type=Path, help="a folder for the logs of the processes")
    parser.add_argument("--soak", action="store_true", help="tell what it uses, each minute")
    given = parser.parse_args()
    seed = secrets.randbits(32) if given.seed is None else given.seed
    wanted = Wanted(
        seed=seed,
        seconds=given.seconds,
        runs=given.runs or max(1, round(given.seconds / 2)),
        counts={"front": given.fronts, "worker": given.workers, "effects": given.effects},
        drain=given.drain,
        soak=given.soak,
    )
    print(f"seed {seed}, {given.seconds:.0f} s, {wanted.runs} requests", flush=True)
    for name in ("aiohttp", "asyncpg", "asyncio"):  # what havoc cuts, they complain of
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder:
        try:
            outcome = asyncio.run(chaos(Path(folder), wanted))
        finally:
            for log in Path(folder).glob("*.log") if given.keep else ():
                given.keep.mkdir(parents=True, exist_ok=True)
                shutil.copy(log, given.keep)
    return _tell(outcome)


def _tell(outcome: Outcome) -> int:
    if outcome.found:
        print("\n".join(["", "Havoc:", *outcome.timeline, "", "Found:", *outcome.found, ""]))
        print(outcome.story)
    print(outcome.line, flush=True)
    return 1 if outcome.found else 0


if __name__ == "__main__":
    sys.exit(main())
