"""Several questions to npm at once, asked of a program that answers as npm does, or does not."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from agent.errors import ToolFailed, Unavailable
from agent.maintenance.dependencies.npm_registry import fitting, within
from agent.maintenance.dependencies.shop import Answer, Shop
from agent.maintenance.night import Update

PINS = {"left": "1.0.0", "right": "3.0.0"}


@dataclass
class Desk:
    """Runs commands as a `Shop` does, on this machine. `npm`: a script in its place."""

    folder: Path

    def shop(self, npm: str, node: str = "") -> Shop:
        for name, text in (("npm", npm), ("node", node)):
            (self.folder / name).write_text(f"#!/bin/bash\n{text}\n")
            (self.folder / name).chmod(0o755)
        return cast("Shop", self)

    async def run(self, argv: Sequence[str], **more: Any) -> Answer:
        env = {"PATH": f"{self.folder}:{os.environ['PATH']}"}
        asked = partial(subprocess.run, env=env, capture_output=True, text=True, timeout=30)
        done = await asyncio.to_thread(asked, argv)
        return Answer(code=done.returncode, out=done.stdout, err=done.stderr)

    def hand_in(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def update(package: str) -> Update:
    return Update(
        ecosystem="npm",
        package=package,
        current=PINS[package],
        target="9.0.0",
        level="major",
        direct=True,
        manifest="package.json",
    )


async def test_a_package_without_an_answer_gets_no_other_s(desk: Desk):
    silent = """case "$4" in right@*) echo '["3.1.0", "3.2.0"]';; esac"""
    assert await within(desk.shop(silent), PINS) == {"right": "3.2.0"}


async def test_two_answers_to_one_question_are_none(desk: Desk):
    with pytest.raises(Unavailable):
        await within(desk.shop("echo '\"1.1.0\"'; echo '\"3.1.0\"'"), PINS)


async def test_answers_that_end_early_are_no_answers(desk: Desk):
    with pytest.raises(ToolFailed, match="not all of what it was asked"):
        await within(desk.shop("kill -9 $PPID"), PINS)


@pytest.mark.parametrize("told", ["[true]", "true", "", "[true, 1]"])
async def test_whether_node_fits_has_to_be_told_of_each(desk: Desk, told: str):
    shop = desk.shop("echo '\"9.0.0\"'", f"echo '{told}'")
    asked = {"engines": {"node": ">=18"}}, [update("left"), update("right")]
    with pytest.raises(ToolFailed, match="which of the updates run"):
        await fitting(shop, *asked, odd=())


async def test_what_the_project_s_node_cannot_run_is_left_out(desk: Desk):
    npm = """echo '{"version": "9.0.0", "engines.node": ">='${#4}'"}'"""
    shop = desk.shop(npm, "echo '[false, true]'")
    found = await fitting(
        shop, {"engines": {"node": ">=18"}}, [update("left"), update("right")], odd=()
    )
    assert [each.package for each in found.updates] == ["right"]
    [left] = found.left_out
    assert left.reason == "It needs Node >=10; the project promises >=18."
