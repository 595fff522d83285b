"""git, called and called off."""

from __future__ import annotations

import asyncio
import os
import select
from pathlib import Path

import pytest

from playground.gitlab.git_run import run_git


async def test_a_git_that_is_called_off_ends_with_its_helpers(tmp_path: Path) -> None:
    helper = tmp_path / "helper"
    as_helper = f"alias.wait=!echo $$ > {helper}.new; mv {helper}.new {helper}; exec sleep 600"
    calling = asyncio.create_task(run_git("-c", as_helper, "wait"))
    while not helper.exists():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.01)
    ended = os.pidfd_open(int(helper.read_text()))
    assert select.select([ended], [], [], 0) == ([], [], [])
    calling.cancel()
    async with asyncio.timeout(20):
        with pytest.raises(asyncio.CancelledError):
            await calling
    # A killed process closes its files a little before the kernel counts it as ended.
    assert select.select([ended], [], [], 20) == ([ended], [], [])
    os.close(ended)
