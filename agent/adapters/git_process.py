"""A git of which nothing is left behind, whenever and however often its caller is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

from agent.adapters.to_the_end import to_the_end


@contextlib.asynccontextmanager
async def git_process(
    *arguments: str,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bool = False,
    stderr: bool = True,
) -> AsyncGenerator[Process]:
    """Runs in a session of its own, which its helpers (remote-https, index-pack, upload-pack)
    share; both are ended, and its pipes closed, when the block is left.
    """
    # By itself: asyncio leaves pipes open when it is cancelled while it starts a process.
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(
            "git",
            *arguments,
            stdin=PIPE if stdin else DEVNULL,
            stdout=PIPE,
            stderr=PIPE if stderr else DEVNULL,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    )
    cancelled = await to_the_end(starting)
    if cancelled is not None and starting.exception() is not None:
        raise cancelled
    process = starting.result()
    try:
        if cancelled is not None:
            raise cancelled
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):  # also helpers that have outlived it
            os.killpg(process.pid, signal.SIGKILL)
        # `wait` alone never ends while a pipe is not read
        cancelled = await to_the_end(asyncio.create_task(process.communicate()))
        if cancelled is not None:
            raise cancelled
