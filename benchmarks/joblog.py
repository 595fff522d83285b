"""How fast a failed job with a huge log is triaged, and in how much memory."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from agent.adapters.gitlab_forge import GitLabReader
from agent.evidence import excerpt_of
from agent.joblog import JobLog
from agent.pipeline import Blame, Job, Pipeline
from agent.run import CommitSha
from agent.triage import Case, Evidence, triage
from benchmarks.measure import MB, most_resident, resident
from benchmarks.table import Row, Table, median, spread

ROUNDS = 3
SIZE = 100 * MB
LINE = (
    b"2026-11-20T12:43:46.962646Z 00O \x1b[32mPASSED\x1b[0m tests/test_%d.py::test_case in 0.01s\n"
)
NEAR = b"retrying (%d): error: connection reset by peer, ERROR was FAILED\n"


def joblog() -> list[Table]:
    rows: list[Row] = []
    for what, line in (("passing tests", LINE), ("lines that look like errors", NEAR)):
        with _served(line) as url:
            measured = [_apart(url) for _ in range(ROUNDS)]
        seconds, memory = ([each[n] for each in measured] for n in (0, 1))
        rows += [
            Row(
                what=f"100 MB of {what}, fetched by HTTP and triaged",
                value=median(seconds),
                unit="s",
                limit=5,
                note=spread(seconds),
            ),
            Row(what="memory that it takes", value=median(memory), unit="MB", limit=50),
        ]
    return [Table(title="Job logs", rows=rows)]


def _apart(url: str) -> tuple[float, float]:
    """In a process of its own, whose highest memory is that of the triage."""
    argv = [sys.executable, "-m", "benchmarks.joblog", url]
    here = Path(__file__).parent.parent
    done = subprocess.run(argv, cwd=here, env=os.environ, check=True, capture_output=True)
    seconds, memory = done.stdout.split()
    return float(seconds), float(memory)


@contextmanager
def _served(line: bytes) -> Generator[str]:
    """What GitLab answers when it is asked for the log, whatever the job."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            for piece in _log(line):
                self.wfile.write(piece)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _log(line: bytes) -> Iterator[bytes]:
    block = b"".join(line % number for number in range(1000))
    yield b"section_start:1:step_script\r\x1b[0K\n\x1b[32;1m$ make test\x1b[0;m\n"
    count = SIZE // len(block)
    for number in range(count):
        if number == count * 9 // 10:
            yield b"=== FAILURES ===\nE   assert 1 == 2, in calc.py\n"
        yield block
    yield b"section_end:2:step_script\r\x1b[0K\nERROR: Job failed: exit code 1\n"


async def _triaged(reader: GitLabReader) -> Blame:
    log = JobLog()
    await reader.job_log("bench/calc", 7, log.feed)
    job = Job(id=7, name="unit", stage="test", status="failed", failure_reason="script_failure")
    sha = CommitSha("a" * 40)
    pipeline = Pipeline(
        id=1, sha=sha, ref="agent/1", source="push", status="failed", url="", jobs=(job,)
    )
    case = Case(pipeline=pipeline, base=None, target="main", changed=["calc.py"], retried={})
    (judged,) = triage(case, {7: Evidence(excerpt=excerpt_of(log))})
    if "$ make test\n" not in judged.excerpt or "E   assert 1 == 2" not in judged.excerpt:
        raise SystemExit("The failure was not found.")
    return judged.blame


async def _measured(url: str) -> None:
    async with GitLabReader(url, "token") as reader:
        before, began = resident(), time.perf_counter()
        if await _triaged(reader) is not Blame.OURS:
            raise SystemExit("The failure was not taken for the change's own.")
        seconds = time.perf_counter() - began
    print(seconds, most_resident() - before)


if __name__ == "__main__":
    asyncio.run(_measured(sys.argv[1]))
