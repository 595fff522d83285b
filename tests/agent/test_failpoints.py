"""Moments at which the service may be made to fail: off, unless one is named."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import failpoints
from agent.errors import ForgeUnavailable, SettingsError
from bot import doctor
from bot.settings import load


@pytest.fixture(autouse=True)
def _off() -> Iterator[None]:
    yield
    failpoints.disarm()


def test_it_is_off_where_nothing_is_named():
    assert load({"HOME": "/nowhere"}).failpoints == ""
    assert failpoints.armed is None
    failpoints.reached("push", "before_call", ForgeUnavailable)


@pytest.mark.parametrize(
    "text",
    [
        "push",
        "push.after_call",
        "push.after_call:vanish",
        "push.someday:kill",
        "pull.after_call:kill",
        "push.after_call:kill@0",
        "push.after_call:kill,note.after_call:kill",
    ],
)
def test_what_is_none_is_refused_at_the_start(text: str):
    with pytest.raises(SettingsError, match=r"JOURNEYMAN_FAILPOINTS is .*for tests only"):
        load({"HOME": "/nowhere", "JOURNEYMAN_FAILPOINTS": text})


def test_it_is_hit_once_and_leaves_a_line(tmp_path: Path):
    failpoints.arm("push.after_call:reset@2", tmp_path)
    failpoints.reached("push", "after_call", ForgeUnavailable)
    failpoints.reached("push", "before_call", ForgeUnavailable)
    failpoints.reached("note", "after_call", ForgeUnavailable)
    assert not (tmp_path / failpoints.RECORD).exists()
    with pytest.raises(ForgeUnavailable, match="a failpoint"):
        failpoints.reached("push", "after_call", ForgeUnavailable)
    failpoints.reached("push", "after_call", ForgeUnavailable)
    [line] = (tmp_path / failpoints.RECORD).read_text().splitlines()
    assert line.startswith("push.after_call:reset hit by ")


def test_who_hangs_goes_on_afterwards(tmp_path: Path):
    failpoints.arm("merge.before_call:hang:0.01", tmp_path)
    failpoints.reached("merge", "before_call", ForgeUnavailable)
    lines = (tmp_path / failpoints.RECORD).read_text().splitlines()
    assert [line.split()[1] for line in lines] == ["hit", "left"]


def test_the_doctor_calls_it_a_fault():
    named = load({"HOME": "/nowhere", "JOURNEYMAN_FAILPOINTS": "push.after_call:kill"})
    found = {check.name: check.ok for check in asyncio.run(doctor._settings(named))}
    assert found["Failpoints"] is False
    plain = asyncio.run(doctor._settings(load({"HOME": "/nowhere"})))
    assert "Failpoints" not in {check.name for check in plain}
