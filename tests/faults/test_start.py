"""`journeyman serve` with bad settings or tokens: one sentence, and exit code 2."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from road import ROOT, Road, fault, until


async def start(road: Road, change: Mapping[str, str]) -> tuple[int, str]:
    env = {name: value for name, value in (road.env | change).items() if value}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "serve"),
        env={**env, "PYTHONPATH": str(ROOT)},
        cwd=road.folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(120):
            out, error = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert out == b""
    assert process.returncode is not None
    return process.returncode, error.decode().strip()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"SLACK_BOT_TOKEN": "xoxb-wrong"}, "SLACK_BOT_TOKEN is refused by Slack (invalid_auth)"),
        ({"SLACK_APP_TOKEN": "xapp-wrong"}, "SLACK_APP_TOKEN is refused by Slack"),
        ({"GITLAB_READ_TOKEN": "glpat-wrong"}, "GITLAB_READ_TOKEN"),
        ({"GITLAB_TOKEN": "glpat-wrong"}, "GITLAB_TOKEN"),
        ({"GITLAB_URL": "not a url"}, "GITLAB_URL is 'not a url'"),
        ({"GITLAB_URL": ""}, "GITLAB_URL is not set"),
        ({"JOURNEYMAN_MODEL": ""}, "JOURNEYMAN_MODEL is not set"),
        ({"SLACK_BOT_TOKEN": ""}, "SLACK_BOT_TOKEN is not set"),
        ({"SLACK_APP_TOKEN": ""}, "Neither SLACK_APP_TOKEN nor SLACK_SIGNING_SECRET is set"),
        ({"JOURNEYMAN_LISTEN": "everywhere"}, "JOURNEYMAN_LISTEN is 'everywhere'"),
        ({"JOURNEYMAN_CONFIG": "/nowhere.toml"}, "JOURNEYMAN_CONFIG names /nowhere.toml"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
async def test_what_is_wrong_is_said_in_one_sentence(
    road: Road, change: Mapping[str, str], told: str
):
    code, said = await start(road, change)
    assert told in said
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1
    assert all(secret not in said for secret in ("xoxb-wrong", "xapp-wrong", "glpat-wrong"))
    assert code == 2


async def test_a_database_that_is_down_is_no_wrong_setting(road: Road):
    code, said = await start(road, {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"})
    assert "PostgreSQL does not answer" in said
    assert "What was stored before is kept" in said
    assert len(said.splitlines()) == 1
    assert code == 1


@pytest.mark.parametrize("mode", ["fail", "429", "drop_after_apply"])
async def test_a_slack_that_is_away_for_a_moment_is_no_wrong_token(road: Road, mode: str):
    hit = road.slack.faults.set(fault(mode, "apps.connections.open", status=503))
    async with road.serving():
        assert hit.hits == 1
        await until(lambda: road.slack.sockets.connections)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[defaults\n", "is not valid TOML"),
        ("[defaults]\ntest_comand = 'true'\n", "did you mean test_command?"),
        ("[model]\nwindow = 'large'\n", "model.window is 'large'"),
        ("[defaults.limits]\nsteps = 0\n", "steps is 0"),
    ],
)
async def test_a_wrong_file_is_said_in_one_sentence(road: Road, text: str, told: str):
    Path(road.env["JOURNEYMAN_CONFIG"]).write_text(text)
    code, said = await start(road, {})
    assert told in said
    assert "journeyman.toml" in said
    assert len(said.splitlines()) == 1
    assert code == 2
