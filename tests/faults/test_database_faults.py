"""PostgreSQL dies under the service."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from linked import link
from oracle import INVARIANTS
from road import EDIT, FINISH, PLAN, Road, run, say, until

from agent.adapters.database import open_database
from agent.adapters.postgres_files import lay_out


def postmaster(home: Path) -> int:
    """Of the server that the service started under its home."""
    return int((lay_out(home).data / "postmaster.pid").read_text().split()[0])


@pytest.mark.cell("F05", "W")
@pytest.mark.without(*INVARIANTS, why="what ran is in a database that the oracle does not see")
async def test_the_embedded_server_is_killed_in_the_middle_of_a_run(road: Road):
    road.script.replies = [PLAN, EDIT, say(run("sleep 1")), FINISH]
    async with road.serving(DATABASE_URL=""):
        world = road.slack.world
        mia = road.gitlab.state.user_by_name("mia")
        assert mia is not None
        async with open_database(home=Path(road.env["JOURNEYMAN_HOME"])) as own:
            await link(own, world.team_id, {world.user_named("mia").id: mia.id})
        asked = road.ask()
        await until(lambda: len(road.script.prompts) == 3)
        os.kill(postmaster(Path(road.env["JOURNEYMAN_HOME"])), signal.SIGKILL)
        await until(lambda: "white_check_mark" in road.reactions(asked), 60)
        await until(lambda: len(road.said(asked)) == 2)
        [merge_request] = road.merge_requests
        assert merge_request.source_branch.startswith("agent/1-")  # and this server's own mark
        assert len(road.script.prompts) <= 5
