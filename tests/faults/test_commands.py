"""What the model may try in the sandbox: it is told what came of it, and the run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from road import EDIT, FINISH, PLAN, Road, edit, own, run, say, sleeps

Call = tuple[str, Mapping[str, Any]]
BOMB = "bomb() { bomb | bomb & }; bomb; sleep 1"
FIRST, SECOND = own(4321), own(4322)
DAEMON = f"(setsid sleep {FIRST} >/dev/null 2>&1 &); setsid nohup sleep {SECOND} & echo left"


@pytest.mark.cell("F29", "W")
@pytest.mark.parametrize(
    ("call", "told"),
    [
        (edit("nothing.py", "a", "b"), "nothing.py"),
        (edit("calc.py", "return c", "b"), "calc.py"),
        (("read", {"path": "/etc/passwd"}), "/etc/passwd"),
        (("read", {"path": "../../../../etc/passwd"}), "etc/passwd"),
        (("write", {"path": "../outside.txt", "content": "x"}), "outside.txt"),
        (("write", {"path": "/tmp/outside.txt", "content": "x"}), "outside.txt"),
        (("write", {"path": ".git/config", "content": "x"}), ".git"),
        (run("sleep 600", timeout=1), "stopped after 1 s: too slow or waiting for input"),
        (run("cat", timeout=2), "exit 0"),
        (run("head -c 1000000000 /dev/zero | tr '\\0' x"), "All of it: `read` /output/"),
        (run(BOMB, timeout=3), "Resource temporarily unavailable"),
        (run(DAEMON), "left"),
        (run("kill -9 -1; kill -9 $$"), "137"),
        (run("rm -rf /workspace/* /workspace/.[a-z]* / 2>/dev/null; ls /workspace"), "exit 0"),
    ],
)
async def test_the_model_is_told_and_the_run_goes_on(road: Road, call: Call, told: str):
    whole = ("write", {"path": "calc.py", "content": "def add(a, b):\n    return b + a\n"})
    check = ("write", {"path": "check.sh", "content": "true\n"})
    road.script.replies = [PLAN, say(call), say(whole, check), FINISH]
    async with road.serving():
        result = await road.result(road.ask(), seconds=90)
        assert "is done: draft merge request !1" in result.text, await road.story()
        said = [m["content"] for m in road.script.prompts[2] if m["role"] == "tool"][-1]
        assert told in said
        assert "root:" not in said
        assert len(said) < 40_000
        assert "return b + a" in await road.read("agent/1", "calc.py")


@pytest.mark.cell("F29", "W")
async def test_what_a_command_leaves_running_is_gone_with_the_run(road: Road):
    road.script.replies = [PLAN, say(run(DAEMON)), EDIT, FINISH]
    async with road.serving():
        await road.result(road.ask())
        assert not sleeps(FIRST)
        assert not sleeps(SECOND)
