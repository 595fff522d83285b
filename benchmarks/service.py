"""A worker as the service runs it: queue, PostgreSQL, sandbox and git are real. The model is the
scripted endpoint, and every effect is reported done at once."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agent.adapters.database import Database, open_database
from agent.adapters.system_clock import SystemClock
from agent.events import EffectDone
from agent.intents import KIND
from agent.ports import Origin
from agent.project import ProjectSettings
from agent.run import ENDED, Limits, Person, Request, Run, RunId, RunStatus, Thread
from agent.worker import Worker
from benchmarks import script
from benchmarks.scripted import environment
from bot.build import make_installer, make_model, make_sandbox, make_vaults
from bot.settings import load


@dataclass(kw_only=True)
class Service:
    database: Database
    project: ProjectSettings
    queue: asyncio.Task[None]
    taken: dict[RunId, float] = field(default_factory=dict[RunId, float])  #: when a worker had it

    async def ask(self, text: str = script.REQUEST) -> Run:
        once = uuid.uuid4().hex
        request = Request(
            text=text,
            project=self.project.path,
            base_branch=None,
            requester=Person(id="U1", name="mia", gitlab_id=7, access=30),
            thread=Thread(team="T", channel="C", ts=once),
            message=once,
        )
        run, _ = await self.database.store.create(once, request, Limits())
        return run

    async def ended(self, run: Run, seconds: float = 120) -> RunStatus:
        async with asyncio.timeout(seconds):
            while True:
                if self.queue.done():
                    self.queue.result()
                row = await self.database.store.run(run.id)
                if row.status in ENDED:
                    return row.status
                await asyncio.sleep(0.02)


@asynccontextmanager
async def open_worker(
    home: Path, url: str, repository: Path, *, slots: int = 8
) -> AsyncGenerator[Service]:
    settings = load(
        environment(JOURNEYMAN_HOME=str(home), JOURNEYMAN_MODEL="scripted", OPENAI_BASE_URL=url)
    )
    project = ProjectSettings(path="bench/invoices")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(home=home, fleet=slots))
        sandbox = make_sandbox(settings)
        await database.store.set_project(project.path, max_runs=slots)

        async def origin(path: str) -> Origin:
            return Origin(url=str(repository))

        worker = Worker(
            name="bench",
            store=database.store,
            model=await stack.enter_async_context(make_model(settings)),
            sandbox=sandbox,
            vaults=make_vaults(settings).of,
            origin=origin,
            projects=lambda path: project,
            clock=SystemClock(),
            installer=make_installer(settings, sandbox),
        )
        taken: dict[RunId, float] = {}

        async def on_run(run: RunId) -> None:
            taken.setdefault(run, time.monotonic())
            await worker.advance(run)

        async def on_effects(run: RunId) -> None:
            for key, intent in await database.store.pending_intents(run):
                done = EffectDone(key=key, effect=KIND[type(intent)], result="done", iid=7)
                await database.store.settle(run, key, done, wake=True)

        queue = database.queue()
        working = asyncio.create_task(
            queue.work(on_run=on_run, on_effects=on_effects, slots=slots), name="queue"
        )
        try:
            yield Service(database=database, project=project, queue=working, taken=taken)
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
