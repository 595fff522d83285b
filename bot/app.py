"""Puts the service together: opens what its roles need, and closes it in reverse."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from aiohttp import web

from agent.adapters.database import Database, open_database
from agent.adapters.gitlab_forge import GitLabReader, GitLabWriter
from agent.adapters.outside_log import OutsideLogs
from agent.adapters.system_clock import SystemClock
from agent.effects import EffectExecutor
from agent.errors import ForgeRejected, ForgeUnavailable, SandboxUnusable, SettingsError
from agent.gatekeeper import Gatekeeper
from agent.hints import Hints
from agent.maintenance.shift import NightShift
from agent.operators import OperatorService
from agent.pace import Pace, Turns
from agent.ports import Origin
from agent.review import hear_review
from agent.service import RunService
from agent.work import Lookout
from agent.worker import Worker
from bot.build import (
    engine_project,
    make_canaries,
    make_installer,
    make_model,
    make_sandbox,
    make_sign_in,
    make_vaults,
    night_schedules,
)
from bot.cards import places
from bot.digest import Digests, digest_channels
from bot.front import open_front
from bot.logs import set_up_logs
from bot.schedule import Schedule
from bot.settings import Settings, load, require
from bot.web.link import add_link_pages
from bot.web.site import make_site
from bot.web.slack_events import add_slack_events
from bot.web.webhooks import SOURCE as GITLAB
from bot.web.webhooks import add_gitlab_events, hear_again

log = logging.getLogger("journeyman")

#: Slack repeats a delivery for minutes; the log of a run keeps what came of it.
KEPT_DELIVERIES = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class Service:
    """What runs; `told` says where to find it, in one sentence."""

    told: str
    port: int | None
    tasks: tuple[asyncio.Task[None], ...]


async def serve_command(roles: Collection[str]) -> int:
    settings = load()
    set_up_logs(settings.secrets)
    await serve(settings, roles)
    return 0


async def serve(settings: Settings, roles: Collection[str]) -> None:
    """Until SIGTERM or Ctrl-C. Raises `SettingsError` when it cannot start."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        opening = asyncio.create_task(_serve_until(stop, settings, roles))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({opening, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not opening.done():
            opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        if not opening.cancelled() and (error := opening.exception()):
            raise error
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


async def _serve_until(stop: asyncio.Event, settings: Settings, roles: Collection[str]) -> None:
    async with open_service(settings, roles) as service:
        print(service.told, flush=True)
        waits = {*service.tasks, asyncio.create_task(stop.wait())}
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # a part that ended by itself ends the service


@asynccontextmanager
async def open_service(settings: Settings, roles: Collection[str]) -> AsyncGenerator[Service]:
    """Everything of the roles is up; closed in reverse. Raises `SettingsError`."""
    require(settings, roles)
    host, port = settings.address
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            open_database(
                home=settings.home, url=settings.database_url, fleet=settings.parallel_runs
            )
        )
        reader = await stack.enter_async_context(
            GitLabReader(settings.gitlab_url, settings.gitlab_read_token or settings.gitlab_token)
        )
        if projects := settings.listed_projects:
            await _check_gitlab(reader.project(projects[0]))
        told: list[str] = []
        tasks: list[asyncio.Task[None]] = []
        bound: int | None = None
        # last opened, first closed: the tasks end before what they use
        if working := {"worker", "effects"} & set(roles):
            await _open_work(stack, settings, database, reader, working, tasks)
        if "front" in roles:
            service = RunService(
                store=database.store,
                forge=reader,
                projects=lambda path: engine_project(settings, path),
            )
            operating = OperatorService(
                store=database.store,
                forge=reader,
                projects=lambda path: engine_project(settings, path),
                operators=settings.operators,
            )
            gatekeeper = Gatekeeper(
                store=database.store,
                forge=reader,
                projects=lambda path: engine_project(settings, path),
                clock=SystemClock(),
                cards=places(database.store, database.threads),
            )
            comments = Turns(
                look=lambda run: hear_review(database.store, reader, run), clock=SystemClock()
            )
            hints = Hints(
                database.store,
                on_waiting=gatekeeper.hinted,
                on_note=comments.ask,
            )
            front = await stack.enter_async_context(
                open_front(
                    settings,
                    store=database.store,
                    deliveries=database.inbox,
                    threads=database.threads,
                    accounts=database.people,
                    sign_in=make_sign_in(settings),
                    runs=service,
                    operating=operating,
                    clock=SystemClock(),
                    gates=gatekeeper,
                    diary=database.nights,
                    book=database.digests,
                    again={GITLAB: hear_again(database.inbox, hints.hear)},
                )
            )
            tasks.append(asyncio.create_task(front.serve(), name="front"))
            stack.push_async_callback(_end, tasks[-1])
            digests = Digests(
                owner=f"{socket.gethostname()}:{os.getpid()}",
                team=front.identity.team,
                channels=digest_channels(settings),
                diary=database.nights,
                book=database.digests,
                store=database.store,
                slack=front.slack,
                clock=SystemClock(),
            )
            schedule = Schedule(
                store=database.store,
                clock=SystemClock(),
                prune=lambda: database.inbox.prune(KEPT_DELIVERIES),
                look_after=gatekeeper.look_after,
                diary=database.nights,
                nights=night_schedules(settings),
                tell=digests.tick,
            )
            tasks.append(asyncio.create_task(schedule.serve(), name="schedule"))
            stack.push_async_callback(_end, tasks[-1])
            by_http = not settings.slack_app_token
            routes = [
                add_gitlab_events(settings.gitlab_webhook_secret, database.inbox, hints.hear),
                add_link_pages(front.linking),
            ]
            if by_http:
                routes.append(add_slack_events(settings.slack_signing_secret, front.door.receive))
            site = make_site(database.store, add_routes=routes, public_url=settings.public_url)
            bound = await _open_site(stack, site, host, port)
            how = "signed HTTP at /slack/events" if by_http else "Socket Mode"
            told.append(f"Slack as @{front.identity.name} by {how}")
            told.append(f"pages on http://{host}:{bound}")
        ready = f"Journeyman is ready ({', '.join(roles)})"
        yield Service(
            told=f"{ready}: {'; '.join(told)}." if told else f"{ready}.",
            port=bound,
            tasks=tuple(tasks),
        )


async def _open_work(
    stack: AsyncExitStack,
    settings: Settings,
    database: Database,
    reader: GitLabReader,
    roles: Collection[str],
    tasks: list[asyncio.Task[None]],
) -> None:
    vaults = make_vaults(settings)
    advance = run_effects = None
    if "worker" in roles:
        for project in settings.listed_projects:
            max_runs = settings.project(project).max_runs
            await database.store.set_project(project, max_runs=max_runs)
        sandbox = make_sandbox(settings)
        if failed := [check for check in await sandbox.check() if not check.ok]:
            raise SandboxUnusable(
                f"The sandbox does not hold here ({failed[0].name}: {failed[0].detail}). "
                f"{failed[0].remedy or 'Run `journeyman sandbox check` for the whole list.'}"
            )

        async def origin(path: str) -> Origin:
            return reader.origin(await reader.project(path))

        worker = Worker(
            name=f"{socket.gethostname()}:{os.getpid()}",
            store=database.store,
            model=await stack.enter_async_context(make_model(settings)),
            sandbox=sandbox,
            vaults=vaults.of,
            origin=origin,
            projects=lambda path: engine_project(settings, path),
            clock=SystemClock(),
            installer=make_installer(settings, sandbox),
            canaries=make_canaries(settings),
            lookout=Lookout(
                forge=reader,
                origin=origin,
                pace=Pace(clock=SystemClock()),
                holder=database.people.holder,
                outside=OutsideLogs(),
            ),
        )
        advance = worker.advance
        if night_schedules(settings):
            shift = NightShift(
                name=worker.name,
                diary=database.nights,
                findings=database.nights,
                store=database.store,
                sandbox=sandbox,
                installer=make_installer(settings, sandbox),
                vaults=vaults.of,
                origin=origin,
                projects=lambda path: engine_project(settings, path),
                clock=SystemClock(),
            )
            tasks.append(asyncio.create_task(shift.serve(), name="nights"))
            stack.push_async_callback(_end, tasks[-1])
    if "effects" in roles:
        writer = await stack.enter_async_context(
            GitLabWriter(settings.gitlab_url, settings.gitlab_token)
        )
        await _check_gitlab(writer.me())
        merger = None
        if settings.gitlab_merge_token:
            merger = await stack.enter_async_context(
                GitLabWriter(
                    settings.gitlab_url,
                    settings.gitlab_merge_token,
                    token_name="GITLAB_MERGE_TOKEN",
                )
            )
            await _check_gitlab(merger.me())
        executor = EffectExecutor(
            store=database.store,
            vaults=vaults.of,
            reader=reader,
            writer=writer,
            merger=merger,
            projects=lambda path: engine_project(settings, path),
            clock=SystemClock(),
            public_url=settings.public_url,
            canaries=make_canaries(settings),
            holder=database.people.holder,
        )
        run_effects = executor.run_pending
    queue = database.queue()
    tasks.append(
        asyncio.create_task(
            queue.work(on_run=advance, on_effects=run_effects, slots=settings.parallel_runs),
            name="queue",
        )
    )
    stack.push_async_callback(_end, tasks[-1])


async def _check_gitlab(asked: Awaitable[object]) -> None:
    """A wrong token is told at the start; a GitLab that is down is waited for later."""
    try:
        await asked
    except ForgeUnavailable as error:
        log.warning("gitlab_down", extra={"reason": str(error)})
    except ForgeRejected as error:
        if error.status in (401, 403):
            raise SettingsError(str(error)) from error
        log.warning("gitlab_refuses", extra={"reason": str(error)})


async def _open_site(stack: AsyncExitStack, site: web.Application, host: str, port: int) -> int:
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=2)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise SettingsError(
            f"JOURNEYMAN_LISTEN is {host}:{port}, where nothing can listen ({error.strerror}): "
            "choose another port, or stop what holds it."
        ) from error
    return int(runner.addresses[0][1])


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
