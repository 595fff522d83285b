import asyncio
import gc
import signal
import sys
from pathlib import Path

import pytest

from agent.adapters.git_process import git_process

SLOW_GIT = ("-c", "alias.wait=!sleep 60 & sleep 60", "wait")


def children() -> set[str]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {pid for each in tasks for pid in each.read_text().split()}


HELPER = ("-c", "alias.wait=!sleep 600 & kill -9 $PPID", "wait")


async def a_git(started: asyncio.Event) -> None:
    async with git_process(*SLOW_GIT, env={"PATH": "/usr/bin:/bin"}) as process:
        started.set()
        await process.wait()


@pytest.mark.parametrize("turns", range(9))
@pytest.mark.parametrize("more", range(4))
def test_a_start_that_is_cancelled_leaves_no_pipe(
    turns: int, more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`turns` of the loop pass before it is cancelled, and `more` before it is again."""

    async def cancelled_at_once() -> None:
        call = asyncio.create_task(a_git(asyncio.Event()))
        for each in (turns, more):
            for _ in range(each):
                await asyncio.sleep(0)
            call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    left: list[object] = []

    def keep(what: "sys.UnraisableHookArgs") -> None:
        left.append(what.exc_value)

    monkeypatch.setattr(sys, "unraisablehook", keep)
    before = children()
    loop = asyncio.new_event_loop()  # closed without the grace of asyncio.run
    try:
        loop.run_until_complete(cancelled_at_once())
    finally:
        loop.close()
    del loop
    gc.collect()
    assert not left
    assert children() <= before


async def test_its_helpers_end_with_it() -> None:
    before, started = children(), asyncio.Event()
    call = asyncio.create_task(a_git(started))
    await started.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert children() <= before


async def test_a_helper_that_outlives_it_holds_up_nobody() -> None:
    async with (
        asyncio.timeout(60),
        git_process(*HELPER, env={"PATH": "/usr/bin:/bin"}) as process,
    ):
        while process.returncode is None:  # noqa: ASYNC110 - `wait` waits for the pipes, too
            await asyncio.sleep(0.01)
    assert process.returncode == -signal.SIGKILL


async def test_a_cancelled_start_that_fails_is_cancelled(tmp_path: Path) -> None:
    async def somewhere() -> None:
        async with git_process("version", env={}, cwd=tmp_path / "missing"):
            pass

    call = asyncio.create_task(somewhere())
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
