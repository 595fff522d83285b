"""Tests for changed lines that none runs, asked for at night by the real service, and kept only
when they notice a program that was made wrong. Measured with the real coverage.py, which is
brought from the package index that this machine is configured for."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from night_road import Nightly
from road import FINISH, GIT_ENV, PLAN, PROJECT, git, make_repository, open_road, say

import agent.maintenance.shift
from agent.adapters.package_config import find_uv, read_sources
from agent.events import HealStarted
from agent.maintenance.diary import Schedule
from agent.maintenance.night import Task
from agent.package_sources import environment
from agent.run import RunStatus

TESTS = Schedule(project=PROJECT, task=Task.TESTS, cron="0 2 * * *", zone="UTC")
SETTINGS = f"""[defaults]
watch_pipeline = false
%s
[projects."{PROJECT}".maintenance]
schedule = "{TESTS.cron}"
tasks = ["tests"]
"""
CALC = "def add(a, b):\n    return a + b\n"
CLIP = "\n\ndef clip(value, most):\n    if value > most:\n        return most\n    return value\n"
TEST = """import unittest

import calc


class T(unittest.TestCase):
    def test_add(self):
        self.assertEqual(calc.add(1, 2), 3)
"""
GOOD = """import unittest

import calc


class Clip(unittest.TestCase):
    def test_at_most(self):
        self.assertEqual(calc.clip(5, 3), 3)
"""
IDLE = GOOD.replace("self.assertEqual(calc.clip(5, 3), 3)", "calc.clip(5, 3)")


def write(text: str, path: str = "test_clip.py"):
    return say(("write", {"path": path, "content": text}))


@pytest.fixture(scope="session")
def coverage_tool(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips, and says why, where coverage.py cannot be had."""
    uv, sources = find_uv(), read_sources(os.environ)
    if uv is None:
        pytest.skip("coverage.py cannot be had from here: there is no uv.")
    folder = str(tmp_path_factory.mktemp("uv"))
    env = {**os.environ, **environment(sources), "UV_CACHE_DIR": folder}
    if sources.ca_file:
        env["SSL_CERT_FILE"] = str(sources.ca_file)
    argv = [str(uv), "pip", "install", "--no-cache", "--dry-run", "--target", folder]
    try:
        done = subprocess.run(
            [*argv, "coverage"], env=env, capture_output=True, text=True, timeout=60
        )
    except subprocess.TimeoutExpired:
        pytest.skip("coverage.py cannot be had from here: the index did not answer in a minute.")
    if done.returncode:
        pytest.skip(f"coverage.py cannot be had from here: {done.stderr[-300:]}")


@pytest.fixture
async def nightly(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch):
    """`add` has been there and is tested; `clip` came today."""
    monkeypatch.setattr(agent.maintenance.shift, "PAUSE", 0.1)
    monkeypatch.setitem(GIT_ENV, "GIT_COMMITTER_DATE", old())
    source = make_repository(tmp_path / "source", {"calc.py": CALC, "test_calc.py": TEST})
    monkeypatch.delitem(GIT_ENV, "GIT_COMMITTER_DATE")
    (source / "calc.py").write_text(CALC + CLIP)
    git(source, "commit", "-qam", "Clip")
    async with open_road(tmp_path, database_url, source=source) as road:
        road.config(SETTINGS % "")
        yield Nightly(road=road, schedule=TESTS)


def old() -> str:
    return f"{datetime.now(UTC) - timedelta(days=30):%Y-%m-%dT%H:%M:%SZ}"


async def gave_up(nightly: Nightly) -> str:
    """Its last reason; nothing was published."""
    assert await nightly.untouched()
    state = await nightly.road.state()
    assert state.status is RunStatus.ESCALATED, await nightly.road.story()
    return state.reason


@pytest.mark.usefixtures("coverage_tool")
async def test_a_test_that_notices_becomes_a_merge_request(nightly: Nightly):
    nightly.road.script.replies = (PLAN, write(GOOD), FINISH)
    [report] = await nightly.work()
    assert [(each.path, each.line) for each in report.findings] == [
        ("calc.py", 6),
        ("calc.py", 7),
        ("calc.py", 8),
    ], report.not_checked
    [errand] = report.errands
    assert errand.title == "Test 3 changed lines in 1 file"
    [request] = nightly.road.merge_requests
    assert await nightly.road.read(request.source_branch, "test_clip.py") == GOOD.strip()
    told = nightly.road.script.told()
    assert "`calc.py`: lines 6 to 8" in told
    assert "tests of `calc.py`: `test_calc.py`" in told
    assert "python3 -m unittest discover" in told
    words = await nightly.told()
    assert "3 changed lines that no test runs" in words
    assert f"!{request.iid}" in words


@pytest.mark.usefixtures("coverage_tool")
async def test_a_test_that_asserts_nothing_is_refused_with_what_it_did_not_notice(
    nightly: Nightly,
):
    nightly.road.script.replies = (PLAN, write(IDLE), FINISH)
    await nightly.work()
    reason = await gave_up(nightly)
    assert "`calc.py:7`: `return most` became `return None`" in reason
    heals = await nightly.road.events(HealStarted)
    assert len(heals) == (await nightly.road.state()).limits.heal_attempts
    assert "Clip::test_at_most" in " ".join(heals[0].refused)
    assert "gave up" in await nightly.told()


@pytest.mark.usefixtures("coverage_tool")
async def test_what_is_refused_once_can_be_made_good(nightly: Nightly):
    nightly.road.script.replies = (PLAN, write(IDLE), FINISH, write(GOOD), FINISH)
    await nightly.work()
    [request] = nightly.road.merge_requests
    assert "assertEqual" in await nightly.road.read(request.source_branch, "test_clip.py")


@pytest.mark.usefixtures("coverage_tool")
async def test_the_program_stays_as_it_is(nightly: Nightly):
    easy = write(CALC + CLIP.replace("most\n    return", "most + 0\n    return"), "calc.py")
    nightly.road.script.replies = (PLAN, write(GOOD), easy, FINISH)
    await nightly.work()
    assert "`calc.py`: this is no test file" in await gave_up(nightly)


@pytest.mark.usefixtures("coverage_tool")
async def test_one_night_asks_once_and_the_next_not_for_the_same(nightly: Nightly):
    nightly.road.script.replies = (PLAN, write(GOOD), FINISH)
    first, second = await nightly.work(2)
    assert len(first.errands) == 1
    assert second.findings == first.findings
    assert second.errands == ()
    assert len(nightly.road.merge_requests) == 1


async def test_without_coverage_it_is_not_checked(
    nightly: Nightly, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("agent.adapters.package_config.find_uv", lambda: None)
    [report] = await nightly.work()
    assert (report.status, report.findings, report.errands) == ("failed", (), ())
    [told] = report.not_checked
    assert "not checked: coverage.py is not among the project's packages" in told
    assert await nightly.untouched()
    assert "*Tests:* not checked" in await nightly.told()


async def test_another_way_to_run_tests_is_not_checked(nightly: Nightly):
    nightly.road.config(SETTINGS % 'test_command = "bash check.sh"')
    [report] = await nightly.work()
    assert "only tests of pytest and unittest are measured" in " ".join(report.not_checked)
    assert await nightly.untouched()
