"""A short chaos, so that nobody finds the long one broken: `make chaos` is the long one."""

from __future__ import annotations

import asyncio
import sys

import pytest
from road import ROOT


@pytest.mark.slow
@pytest.mark.alone
async def test_everything_ends_after_a_short_chaos():
    wanted = "--seed 1 --seconds 15 --runs 4 --workers 1 --fronts 1 --drain 300"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.chaos", *wanted.split()),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(600):
            told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode == 0, told.decode()
    assert b"violations 0" in told
