"""Runs that watch their pipelines, with what looks after them in the service: queue, PostgreSQL,
worker, webhooks, presenter. GitLab and Slack are the stand-ins, over HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from aiohttp import ClientSession, web
from slack_sdk.web.async_client import AsyncWebClient

from agent.adapters.database import Database, open_database
from agent.adapters.gitlab_forge import GitLabReader, GitLabWriter
from agent.adapters.system_clock import SystemClock
from agent.events import CheckpointTaken, Committed, EffectDone, FileChange, WorkspaceReady
from agent.hints import Hints
from agent.intents import KIND, PublishMergeRequest, Push
from agent.pace import Pace
from agent.ports import Origin, Write
from agent.project import ProjectSettings
from agent.run import (
    PARKED,
    CommitSha,
    Digest,
    Limits,
    Person,
    Request,
    RunId,
    RunStatus,
    Thread,
    TreeSha,
)
from agent.work import Lookout
from agent.worker import Worker
from bot.presenter import Presenter
from bot.slack import Slack
from bot.slack_api import SlackApi
from bot.web.webhooks import add_gitlab_events
from playground.gitlab.records import DEVELOPER, Hook, Pipeline, Project, User
from playground.gitlab.server import GitLabStandIn
from playground.slack.server import SlackStandIn
from playground.slack.world import new_world

ROOT = Path(__file__).parent.parent
PATH = "bench/invoices"
CONFIG = "unit:\n  script: [make test]\n"
SECRET = "hook-secret"


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A run whose pipeline GitLab has not finished."""

    run: RunId
    thread: Thread
    pipeline: Pipeline


@dataclass(kw_only=True)
class Watching:
    database: Database
    gitlab: GitLabStandIn
    slack: SlackStandIn
    project: Project
    agent: User
    reader: GitLabReader
    writer: GitLabWriter

    async def add(self, first_look: float) -> Watched:
        """One more run, from its request to its parked watching. Nothing must serve the queue."""
        store, us = self.database.store, self.slack.world.app.bot_user
        root = self.slack.people.post("mia", "platform", f"<@{us}> add an export")
        team = self.slack.world.team_id
        thread = Thread(team=team, channel=root.channel, ts=root.ts)
        request = Request(
            text="add an export",
            project=PATH,
            base_branch=None,
            requester=Person(id="U0MIA", name="mia", gitlab_id=7, access=30),
            thread=thread,
            message=root.ts,
        )
        run, _ = await store.create(root.ts, request, Limits())
        mine = await store.claim(run.id, "bench")
        assert mine is not None
        made, iid = await self._at_gitlab(run.branch)
        patch = b"diff"
        tree = TreeSha(hashlib.sha1(root.ts.encode(), usedforsecurity=False).hexdigest())
        files = (FileChange(path="export.py", status="added", added=9, removed=0),)
        base = CommitSha("b" * 40)
        digest = Digest(hashlib.sha256(patch).hexdigest())
        push, publish = Push(commit=made), PublishMergeRequest(commit=made)
        written = Write(
            payloads=(
                WorkspaceReady(base=base, branch="main", files=9, seconds=0.1),
                CheckpointTaken(tree=tree, patch=digest, files=files),
                Committed(commit=made, tree=tree, files=files, title="Add an export"),
            ),
            bodies=(patch,),
            intents=(push, publish),
        )
        await store.write(run.id, written, actor="worker", epoch=mine.epoch)
        for intent in (push, publish):
            key, kind = intent.key(run.id), KIND[type(intent)]
            done = EffectDone(key=key, effect=kind, result=f"!{iid}", iid=iid)
            await store.settle(run.id, key, done, wake=False)
        await self.database.pool.execute(
            "DELETE FROM engine.pgqueuer WHERE status = 'queued' AND execute_after <= now()"
        )
        park = Write(payloads=(), status=RunStatus.WATCHING, wake=True, wake_after=first_look)
        await store.write(run.id, park, actor="worker")
        pipeline = next(p for p in self.project.pipelines.values() if p.sha == made)
        return Watched(run=run.id, thread=thread, pipeline=pipeline)

    async def _at_gitlab(self, branch: str) -> tuple[CommitSha, int]:
        """A branch with its commit, its pipeline and its merge request."""
        action = {"action": "create", "file_path": f"{branch}.py", "content": "1\n"}
        data = {"branch": branch, "start_branch": "main", "commit_message": "Add an export"}
        token = self.gitlab.state.add_token(self.agent, "api").secret
        url = f"{self.gitlab.url}/api/v4/projects/{self.project.id}/repository/commits"
        async with (
            ClientSession(headers={"PRIVATE-TOKEN": token}) as session,
            session.post(url, json={**data, "actions": [action]}) as answer,
        ):
            made = CommitSha((await answer.json())["id"])
        request = await self.writer.open_merge_request(
            PATH, source=branch, target="main", title="Draft: Add an export", description=""
        )
        return made, request.iid

    def moves(self, watched: Watched, status: str, log: bytes = b"") -> None:
        """What a runner says of the one job."""
        (job,) = watched.pipeline.jobs
        job.trace += log
        job.failure_reason = "script_failure" if status == "failed" else None
        self.gitlab.forge.pipelines.set_status(self.project, watched.pipeline, job, status)
        self.gitlab.forge.pipelines.settle(self.project, watched.pipeline)

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        """Who is looked after goes on watching; work that comes of it is left to others."""
        store, clock = self.database.store, SystemClock()

        async def origin(path: str) -> Origin:
            return self.reader.origin(await self.reader.project(path))

        unused = cast("Any", None)  # what only watches has neither model nor sandbox nor git
        worker = Worker(
            name="bench",
            store=store,
            model=unused,
            sandbox=unused,
            vaults=lambda path: unused,
            origin=origin,
            projects=lambda path: ProjectSettings(path=path),
            clock=clock,
            lookout=Lookout(forge=self.reader, origin=origin, pace=Pace(clock=clock)),
        )

        async def on_run(run: RunId) -> None:
            if (await store.run(run)).status in PARKED:
                await worker.advance(run)

        async with ClientSession() as session:
            client = AsyncWebClient(
                token=next(t.value for t in self.slack.world.tokens.values() if t.kind == "bot"),
                base_url=self.slack.api_url,
                session=session,
                retry_handlers=[],
            )
            slack = Slack(api=SlackApi(client=client))
            presenter = Presenter(
                store=store, threads=self.database.threads, slack=slack, clock=clock
            )
            tasks = [
                asyncio.create_task(self.database.queue().work(on_run=on_run)),
                asyncio.create_task(presenter.serve()),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def open_watching(folder: Path) -> AsyncGenerator[Watching]:
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(home=folder / "home", fleet=4))
        await database.store.set_project(PATH, max_runs=1)
        gitlab = await stack.enter_async_context(GitLabStandIn(folder / "gitlab"))
        manifest = json.loads((ROOT / "slack-manifest.json").read_text())
        slack = await stack.enter_async_context(SlackStandIn(new_world(manifest)))
        sam, agent = gitlab.state.add_user("sam"), gitlab.state.add_user("journeyman", bot=True)
        source = folder / "source"
        source.mkdir()
        (source / ".gitlab-ci.yml").write_text(CONFIG)
        project = await gitlab.add_project(PATH, owner=sam, source=source)
        gitlab.state.add_member(project, agent, DEVELOPER)
        reads = gitlab.state.add_token(agent, "read_api", "read_repository").secret
        writes = gitlab.state.add_token(agent, "api").secret
        reader = await stack.enter_async_context(GitLabReader(gitlab.url, reads))
        writer = await stack.enter_async_context(GitLabWriter(gitlab.url, writes))
        project.hooks[1] = Hook(
            id=1,
            url=await _site(stack, database),
            created_at=gitlab.state.now(),
            events=dict.fromkeys(("push_events", "pipeline_events", "merge_requests_events"), True),
            token=SECRET,
        )
        yield Watching(
            database=database,
            gitlab=gitlab,
            slack=slack,
            project=project,
            agent=agent,
            reader=reader,
            writer=writer,
        )


async def _site(stack: AsyncExitStack, database: Database) -> str:
    app = web.Application()
    hints = Hints(database.store)
    add_gitlab_events(SECRET, database.inbox, hints.hear)(app.router)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}/gitlab/events"
