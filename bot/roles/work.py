"""The roles that the queue gives work to: `worker` runs it, `effects` makes it public."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection

from agent.adapters.git_vault import GitVaults
from agent.adapters.gitlab_forge import GitLabWriter
from agent.adapters.outside_log import OutsideLogs
from agent.adapters.system_clock import SystemClock
from agent.effects import EffectExecutor
from agent.effects.reconciler import Reconciler
from agent.errors import SandboxUnusable
from agent.gatekeeper import Gatekeeper
from agent.hints import Hints
from agent.maintenance.acceptance import NightAcceptance
from agent.maintenance.shift import NightShift
from agent.pace import Pace
from agent.ports import Origin
from agent.retrieval.backfill import Backfill
from agent.retrieval.library import Library
from agent.retrieval.pushes import Follower
from agent.retrieval.vectors import Similarity
from agent.rounds import Round
from agent.run import CommitSha, RunId
from agent.work import Lookout
from agent.worker import Worker
from bot.build import (
    make_canaries,
    make_embedder,
    make_installer,
    make_library,
    make_model,
    make_sandbox,
    make_vaults,
    night_schedules,
    tended_origin,
)
from bot.cards import places
from bot.roles.health import Watched, check_forge, check_queue, check_sandbox
from bot.roles.opening import Opening, check_gitlab

log = logging.getLogger("journeyman")

Deed = Callable[[RunId], Awaitable[None]]


async def open_work(opening: Opening, roles: Collection[str]) -> None:
    vaults = make_vaults(opening.settings)
    on_run = await _open_worker(opening, vaults) if "worker" in roles else None
    on_effects = await _open_effects(opening, vaults) if "effects" in roles else None
    slots = opening.settings.parallel_runs
    queue = opening.database.queue()
    working = queue.work(on_run=on_run, on_effects=on_effects, slots=slots)
    check_queue(opening, opening.go(working, "queue"))
    opening.health.count("mended", lambda: queue.mended)


async def _open_worker(opening: Opening, vaults: GitVaults) -> Deed:
    settings, database, reader = opening.settings, opening.database, opening.reader
    for project in settings.listed_projects:
        max_runs = settings.project(project).max_runs
        await database.store.set_project(project, max_runs=max_runs)
    sandbox = make_sandbox(settings)
    if failed := [check for check in await sandbox.check() if not check.ok]:
        raise SandboxUnusable(
            f"The sandbox does not hold here ({failed[0].name}: {failed[0].detail}). "
            f"{failed[0].remedy or 'Run `journeyman sandbox check` for the whole list.'}"
        )
    if left := await asyncio.to_thread(sandbox.sweep):
        log.info("sandbox_swept", extra={"folders": left})

    async def origin(path: str) -> Origin:
        return reader.origin(await reader.project(path))

    installer = make_installer(settings, sandbox)
    library = make_library(
        settings, database.code, vaults, origin, merged=(reader, database.merges)
    )
    await opening.stack.enter_async_context(library)
    library.similarity = await _open_embeddings(opening)
    _follow_pushes(opening, library, vaults, origin)
    model = Watched(await opening.stack.enter_async_context(make_model(settings)))
    opening.health.add("model", model.outcome)
    check_forge(opening, "gitlab", reader)
    check_sandbox(opening, sandbox.check)
    worker = Worker(
        name=opening.name,
        store=database.store,
        model=model,
        sandbox=sandbox,
        vaults=vaults.of,
        origin=origin,
        projects=opening.project,
        clock=SystemClock(),
        installer=installer,
        canaries=make_canaries(settings),
        acceptance=NightAcceptance(
            sandbox=sandbox,
            installer=installer,
            vaults=vaults.of,
            clock=SystemClock(),
            findings=database.nights,
        ),
        library=library,
        lookout=Lookout(
            forge=reader,
            origin=origin,
            pace=Pace(clock=SystemClock()),
            holder=database.people.holder,
            outside=OutsideLogs(),
        ),
    )
    if night_schedules(settings):
        token = settings.gitlab_token
        writer = await _writer(opening, token, "GITLAB_TOKEN") if token else None

        async def tended(path: str) -> Origin:
            return await tended_origin(reader, path, writer)

        shift = NightShift(
            name=worker.name,
            diary=database.nights,
            findings=database.nights,
            store=database.store,
            sandbox=sandbox,
            installer=installer,
            vaults=vaults.of,
            origin=tended,
            forge=reader,
            projects=opening.project,
            clock=SystemClock(),
            model=bool(settings.model),
        )
        opening.go(shift.serve(), "nights")
    return worker.advance


def _follow_pushes(
    opening: Opening,
    library: Library,
    vaults: GitVaults,
    origin: Callable[[str], Awaitable[Origin]],
) -> None:
    async def newest(path: str) -> CommitSha:
        known = opening.project(path)
        base = known.base_branch if known else None
        return (await vaults.of(path).fetch(await origin(path), base))[0]

    follower = Follower(
        pushes=opening.database.pushes,
        code=opening.database.code,
        library=library,
        newest=newest,
        projects=opening.settings.listed_projects,
    )
    opening.go(follower.serve(), "pushes")


async def _open_embeddings(opening: Opening) -> Similarity | None:
    """What compares code by meaning; what it lacks is made behind everything else."""
    embedder, database = make_embedder(opening.settings), opening.database
    if embedder is None:
        return None
    await opening.stack.enter_async_context(embedder)
    backfill = Backfill(
        code=database.code,
        vectors=database.vectors,
        embedder=embedder,
        projects=opening.settings.listed_projects,
    )
    opening.go(backfill.serve(), "embeddings")
    return Similarity(store=database.vectors, embedder=embedder)


async def _open_effects(opening: Opening, vaults: GitVaults) -> Deed:
    settings, database = opening.settings, opening.database
    writer = await _writer(opening, settings.gitlab_token, "GITLAB_TOKEN")
    merger = None
    if settings.gitlab_merge_token:
        merger = await _writer(opening, settings.gitlab_merge_token, "GITLAB_MERGE_TOKEN")
    check_forge(opening, "gitlab for changes", writer)
    executor = EffectExecutor(
        store=database.store,
        vaults=vaults.of,
        reader=opening.reader,
        writer=writer,
        merger=merger,
        projects=opening.project,
        clock=SystemClock(),
        public_url=settings.public_url,
        canaries=make_canaries(settings),
        holder=database.people.holder,
    )
    _reconcile(opening, writer)
    return executor.run_pending


def _reconcile(opening: Opening, writer: GitLabWriter) -> None:
    database, reader, clock = opening.database, opening.reader, SystemClock()
    gatekeeper = Gatekeeper(
        store=database.store,
        forge=reader,
        projects=opening.project,
        clock=clock,
        cards=places(database.store, database.threads),
    )
    hints = Hints(database.store, on_waiting=gatekeeper.look_after)
    for project in opening.settings.listed_projects:
        reconciler = Reconciler(
            store=database.store,
            reader=reader,
            writer=writer,
            runs=database.rounds,
            hints=hints,
            project=project,
        )
        name = f"reconcile {project}"
        round_ = Round(name=name, make=reconciler.make, rounds=database.rounds, clock=clock)
        opening.go(round_.serve(), name)


async def _writer(opening: Opening, token: str, name: str) -> GitLabWriter:
    writer = await opening.stack.enter_async_context(
        GitLabWriter(opening.settings.gitlab_url, token, token_name=name)
    )
    await check_gitlab(writer.me())
    return writer
