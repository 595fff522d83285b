"""What the start of a command costs: in our sandbox, in bubblewrap itself, and in neither."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import time
from pathlib import Path

from agent.adapters import bubblewrap_args as arguments
from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from benchmarks.table import median
from bot.build import sandbox_folder

TIMES = 30


async def starts(home: Path) -> dict[str, float]:
    """Median seconds of `true`."""
    sandbox = BubblewrapSandbox(sandbox_folder(home))
    folder = sandbox.new_folder("bench")
    ours, plain, bare = [], [], []
    try:
        async with sandbox.open(folder) as box:
            await box.exec(["true"])
            for _ in range(TIMES):
                began = time.perf_counter()
                await box.exec(["true"])
                ours.append(time.perf_counter() - began)
                plain.append(await asyncio.to_thread(_bwrap, sandbox, folder))
                bare.append(await asyncio.to_thread(_timed, ["true"]))
    finally:
        await sandbox.remove(folder)
    return {"ours": median(ours), "bwrap": median(plain), "bare": median(bare)}


def _bwrap(sandbox: BubblewrapSandbox, folder: Path) -> float:
    """The same namespaces, mounts and filter, without what we watch and limit."""
    given = [*sandbox.host.fixed, *arguments.command_arguments(folder, ".", {}, ())]
    with tempfile.TemporaryFile() as words, tempfile.TemporaryFile() as seccomp:
        seccomp.write(sandbox.host.seccomp)
        seccomp.seek(0)
        text = "\0".join([*given, "--seccomp", str(seccomp.fileno()), ""])
        words.write(os.fsencode(text))
        words.seek(0)
        with sandbox.users.hold(folder) as uid:
            argv = [*sandbox.users.prefix(uid), arguments.BWRAP, "--args", str(words.fileno())]
            return _timed([*argv, "--", "true"], words.fileno(), seccomp.fileno())


def _timed(argv: list[str], *fds: int) -> float:
    began = time.perf_counter()
    subprocess.run(argv, pass_fds=fds, check=True, cwd="/")
    return time.perf_counter() - began
