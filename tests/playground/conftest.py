from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import gitlab_schema
import pytest
from gitlab_scene import PEOPLE, HeldClock, Scene
from slack_schema import SPECS, problems_of
from slack_sdk.web.async_client import AsyncWebClient

from agent.adapters.bubblewrap_sandbox import BubblewrapSandbox
from playground.gitlab.server import Exchange, GitLabStandIn
from playground.slack.server import SlackStandIn
from playground.slack.world import World, new_world

MANIFEST = Path(__file__).parents[2] / "slack-manifest.json"


@pytest.fixture
def world() -> World:
    return new_world(json.loads(MANIFEST.read_text()))


@pytest.fixture
async def slack(world: World) -> AsyncIterator[SlackStandIn]:
    """The stand-in; after the test, all that was said is held against Slack's descriptions."""
    async with SlackStandIn(world, speed=1000) as running:
        yield running
        if SPECS.is_dir():
            problems = problems_of(running)
            assert not problems, "\n".join(problems)


@pytest.fixture
def client(slack: SlackStandIn) -> AsyncWebClient:
    return AsyncWebClient(token="xoxb-playground", base_url=slack.api_url)


# --- GitLab


@pytest.fixture
async def gitlab(tmp_path: Path) -> AsyncIterator[GitLabStandIn]:
    """The stand-in without a runner; after the test, every call is held against GitLab's own
    description."""
    async for running in _described(GitLabStandIn(tmp_path / "gitlab")):
        yield running


@pytest.fixture
async def scene(gitlab: GitLabStandIn, tmp_path: Path) -> Scene:
    return await _scene(gitlab, tmp_path)


@pytest.fixture
def clock(gitlab: GitLabStandIn, monkeypatch: pytest.MonkeyPatch) -> HeldClock:
    held = HeldClock()
    monkeypatch.setattr(gitlab.state, "monotonic", held.monotonic)
    return held


@pytest.fixture
async def ci(tmp_path: Path) -> AsyncIterator[Scene]:
    """A scene whose pipelines run, in the product's own sandbox."""
    folder = Path(tempfile.mkdtemp(prefix="journeyman-ci-"))
    folder.chmod(0o711)
    server = GitLabStandIn(tmp_path / "gitlab", sandbox=BubblewrapSandbox(folder))
    async for running in _described(server):
        yield await _scene(running, tmp_path)
    shutil.rmtree(folder)


async def _scene(server: GitLabStandIn, folder: Path) -> Scene:
    source = folder / "source"
    source.mkdir()
    (source / "README.md").write_text("# App\n")
    people = {name: server.state.add_user(name, name=name.title()) for name in PEOPLE}
    project = await server.add_project("demo/app", owner=people["sam"], source=source)
    for name, level in PEOPLE.items():
        server.state.add_member(project, people[name], level)
    people["stranger"] = server.state.add_user("stranger")
    return Scene(server=server, project=project, people=people, folder=folder)


async def _described(server: GitLabStandIn) -> AsyncIterator[GitLabStandIn]:
    exchanges: list[Exchange] = []
    server.on_exchange = exchanges.append
    async with server:
        yield server
        if gitlab_schema.SPECS.is_dir():
            found = [gitlab_schema.problems_of(each) for each in exchanges]
            for warning in sorted({text for _, warnings in found for text in warnings}):
                print("warning:", warning)
            errors = sorted({text for errors, _ in found for text in errors})
            assert not errors, "\n".join(errors)
