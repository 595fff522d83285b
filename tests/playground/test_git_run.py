"""git, called and called off."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from playground.gitlab.git_run import run_git


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


async def test_a_git_that_is_called_off_ends_with_its_helpers(tmp_path: Path) -> None:
    helper = tmp_path / "helper"
    as_helper = f"alias.wait=!echo $$ > {helper}.new; mv {helper}.new {helper}; exec sleep 600"
    calling = asyncio.create_task(run_git("-c", as_helper, "wait"))
    while not helper.exists():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.01)
    assert alive(pid := int(helper.read_text()))
    calling.cancel()
    async with asyncio.timeout(20):
        with pytest.raises(asyncio.CancelledError):
            await calling
    assert not alive(pid)
