"""How fast the failing section of a huge log is found, and in how much memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from agent.joblog import JobLog
from benchmarks.measure import MB, resident
from benchmarks.table import Row, Table, median, spread

ROUNDS = 3
SIZE = 100 * MB
PIECE = 64 * 1024
LINE = (
    b"2026-11-20T12:43:46.962646Z 00O \x1b[32mPASSED\x1b[0m tests/test_%d.py::test_case in 0.01s\n"
)
NEAR = b"retrying (%d): error: connection reset by peer, ERROR was FAILED\n"


def joblog() -> list[Table]:
    rows: list[Row] = []
    for what, line in (("passing tests", LINE), ("lines that look like errors", NEAR)):
        measured = [_apart(line) for _ in range(ROUNDS)]
        seconds, memory = ([each[n] for each in measured] for n in (0, 1))
        rows += [
            Row(
                what=f"100 MB of {what}, triaged",
                value=median(seconds),
                unit="s",
                limit=5,
                note=spread(seconds),
            ),
            Row(what="memory that it takes", value=median(memory), unit="MB", limit=50),
        ]
    return [Table(title="Job logs", rows=rows)]


def _apart(line: bytes) -> tuple[float, float]:
    """In a process of its own, whose highest memory is that of the triage."""
    argv = [sys.executable, "-m", "benchmarks.joblog", line.hex()]
    here = Path(__file__).parent.parent
    done = subprocess.run(argv, cwd=here, env=os.environ, check=True, capture_output=True)
    seconds, memory = done.stdout.split()
    return float(seconds), float(memory)


def main() -> None:
    line = bytes.fromhex(sys.argv[1])
    block = b"".join(line % number for number in range(1000))
    before, triage = resident(), JobLog()
    began = time.perf_counter()
    triage.feed(b"section_start:1:step_script\r\x1b[0K\n\x1b[32;1m$ make test\x1b[0;m\n")
    count = SIZE // len(block)
    for number in range(count):
        if number == count * 9 // 10:
            triage.feed(b"=== FAILURES ===\nE   assert 1 == 2\n")
        for start in range(0, len(block), PIECE):
            triage.feed(block[start : start + PIECE])
    triage.feed(b"section_end:2:step_script\r\x1b[0K\nERROR: Job failed: exit code 1\n")
    found = triage.excerpt(8000)
    seconds = time.perf_counter() - began
    if found.command != "make test" or "E   assert 1 == 2" not in found.text:
        raise SystemExit("The failure was not found.")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB
    print(seconds, peak - before)


if __name__ == "__main__":
    main()
