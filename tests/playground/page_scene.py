"""A workspace with a page and an app that answers clicks, without the service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web

from playground import seed
from playground.gitlab import project_seed
from playground.gitlab.forge import Forge
from playground.gitlab.git_repo import ZERO, Signature
from playground.gitlab.instant import InstantRunner
from playground.gitlab.records import DEVELOPER, MAINTAINER, MergeRequest, Project
from playground.page.actions import Actions
from playground.page.chat import Chat
from playground.page.forge import ForgeView
from playground.page.server import Page
from playground.service import ROOT
from playground.slack.records import Message
from playground.slack.server import SlackStandIn
from playground.slack.world import World

Json = dict[str, Any]
BROWSER = {
    "executable_path": "/usr/bin/chromium",
    "args": [
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ],
}


@dataclass
class App:
    """What Slack sends it is kept; `answers` maps an interaction's type to what it says."""

    interactions: list[Json] = field(default_factory=list)
    answers: dict[str, Json] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.Response:
        if request.content_type == "application/json":
            return web.Response()
        payload = json.loads((await request.post())["payload"])
        self.interactions.append(payload)
        return web.json_response(self.answers.get(payload["type"], {}))


@dataclass
class Scene:
    slack: SlackStandIn
    forge: Forge
    page: Page
    app: App
    http: ClientSession

    @property
    def world(self) -> World:
        return self.slack.world

    @property
    def billing(self) -> str:
        return self.world.channel_named("billing").id

    def says(self, *blocks: Json, text: str = "text", thread_ts: str = "") -> Message:
        """The agent posts."""
        world = self.world
        return world.put(
            Message(
                channel=self.billing,
                ts=world.new_ts(),
                user=world.app.bot_user,
                text=text,
                blocks=tuple({"block_id": f"b{n}", **block} for n, block in enumerate(blocks)),
                thread_ts=thread_ts,
            )
        )

    async def act(self, what: str, user: str = "U0MIA", **details: Any) -> tuple[int, Json]:
        body = {"do": what, "user": user, **details}
        async with self.http.post(f"{self.page.url}api/act", json=body) as answer:
            return answer.status, await answer.json()

    @asynccontextmanager
    async def stream(self, user: str = "U0MIA") -> AsyncGenerator[Stream]:
        async with self.http.get(f"{self.page.url}api/events?user={user}") as answer:
            yield Stream(answer)


class Stream:
    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def next(self, wanted: Callable[[str, Json], bool] = lambda *_: True) -> Json:
        """The data of the next event that is wanted."""
        async with asyncio.timeout(60):
            while True:
                name = data = ""
                while line := (await self._answer.content.readline()).decode().rstrip("\n"):
                    key, _, value = line.partition(": ")
                    name = value if key == "event" else name
                    data = value if key == "data" else data
                if name and wanted(name, json.loads(data)):
                    return json.loads(data)


async def merge_request(stage: Scene, folder: Path, config: str) -> tuple[Project, MergeRequest]:
    """By mia, of one file, in a project of sam's whose jobs end at once."""
    forge, state = stage.forge, stage.forge.state
    forge.pipelines.runner = InstantRunner()
    for name in ("sam", "mia"):
        state.add_user(name, name=name.title())
    sam, mia = seed.account(state, "sam"), seed.account(state, "mia")
    source = folder / "source"
    source.mkdir()
    (source / ".gitlab-ci.yml").write_text(config)
    project = await project_seed.seed(
        forge, "demo/app", owner=sam, source=source, visibility="private", protect=True, settings={}
    )
    state.add_member(project, sam, MAINTAINER)
    state.add_member(project, mia, DEVELOPER)
    repository = forge.repository(project)
    head = await repository.branch("main")
    assert head is not None
    sha = await repository.commit_tree(
        f"{head}^{{tree}}", [head], "Change", Signature(name="Mia", email="mia@example.com")
    )
    await repository.update_ref("refs/heads/topic", sha, ZERO)
    now = state.now()
    made = MergeRequest(
        id=1, iid=1, project_id=project.id, title="A change", author_id=mia.id, created_at=now,
        updated_at=now, source_project_id=project.id, source_branch="topic", target_branch="main",
        sha=sha, checking_since=0.0, remove_source_branch=False,
    )  # fmt: skip
    project.merge_requests[1] = made
    state.publish("merge_request", project, 1)
    return project, made


@asynccontextmanager
async def scene(folder: Path) -> AsyncGenerator[Scene]:
    app = App()
    site = web.Application()
    site.router.add_post("/slack/events", app.handle)
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    world = seed.make_world(ROOT / "slack-manifest.json")
    forge = Forge(folder / "gitlab")
    forge.url = "http://127.0.0.1:9"
    async with SlackStandIn(world, request_url=url) as slack, ClientSession() as http:
        chat = Chat(world, titles=seed.TITLES, purposes=seed.PURPOSES)
        actions = Actions(slack.people, forge)
        async with Page(chat, ForgeView(forge), actions, model="Nobody answers.") as page:
            yield Scene(slack=slack, forge=forge, page=page, app=app, http=http)
    await runner.cleanup()
