"""A service of which a part hangs is told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: A part that neither ends nor lets itself be cancelled, a thread that waits for ever, and a child
#: in a session of its own.
HANGS = """
import asyncio, subprocess, sys, threading
from contextlib import asynccontextmanager
import bot.app, bot.leaving
from bot.cli import main

@asynccontextmanager
async def hangs(settings, roles):
    child = subprocess.Popen(["sleep", "3600"], start_new_session=True)
    print(child.pid, flush=True)
    try:
        yield bot.app.Service(told="It is ready.", port=None, tasks=())
    finally:
        asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass

bot.app.open_service = hangs
bot.leaving.LIMIT = 1.0
sys.exit(main(["serve"]))
"""


def runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@contextmanager
def hanging(folder: Path, stderr: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The service, ready, and its child."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", HANGS],
        env=env,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    ) as process:
        assert process.stdout
        child = int(process.stdout.readline())
        try:
            assert process.stdout.readline() == "It is ready.\n"
            assert runs(child)
            yield process, child
        finally:
            process.kill()
            if runs(child):
                os.kill(child, signal.SIGKILL)


def test_whatever_hangs_the_process_ends_in_time_and_leaves_no_child(tmp_path: Path):
    with hanging(tmp_path, subprocess.PIPE) as (process, child):
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "stop_hangs" in told
        until = time.monotonic() + 30
        while runs(child) and time.monotonic() < until:
            time.sleep(0.05)
        assert not runs(child)


def test_a_process_to_which_nobody_listens_ends_in_time_all_the_same(tmp_path: Path):
    """Its collector of logs has stopped reading, and the pipe to it is full."""
    full, into = os.pipe()
    os.set_blocking(into, False)
    with suppress(BlockingIOError):
        while True:
            os.write(into, b"x" * 4096)
    os.set_blocking(into, True)
    with hanging(tmp_path, into) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 1
    os.close(full)
    os.close(into)
