"""PostgreSQL dies under the service."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from road import EDIT, FINISH, PLAN, Road, run, say, until

from agent.adapters.postgres_files import SYSTEM_FOLDER


def postmaster(home: Path) -> int:
    """Of the server that the service started under its home."""
    for pid_file in (*home.rglob("postmaster.pid"), *SYSTEM_FOLDER.glob("*/data/postmaster.pid")):
        note = pid_file.parent.parent / "home"
        if pid_file.is_relative_to(home) or (note.exists() and note.read_text() == str(home)):
            return int(pid_file.read_text().split()[0])
    raise AssertionError("no server was started")


async def test_the_embedded_server_is_killed_in_the_middle_of_a_run(road: Road):
    road.script.replies = [PLAN, EDIT, say(run("sleep 1")), FINISH]
    async with road.serving(DATABASE_URL=""):
        asked = road.ask()
        await until(lambda: len(road.script.prompts) == 3)
        os.kill(postmaster(Path(road.env["JOURNEYMAN_HOME"])), signal.SIGKILL)
        await until(lambda: "white_check_mark" in road.reactions(asked), 60)
        await until(lambda: len(road.said(asked)) == 2)
        assert [mr.source_branch for mr in road.merge_requests] == ["agent/1"]
        assert len(road.script.prompts) <= 5
