"""Puts the service together: opens what its roles need, and closes it in reverse."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from agent import failpoints
from agent.adapters.database import open_database
from agent.adapters.gitlab_forge import GitLabReader
from agent.errors import SettingsError
from bot.leaving import bound
from bot.logs import set_up_logs
from bot.roles.front import open_front_role
from bot.roles.health import check_database, health_pages
from bot.roles.opening import Opening, check_gitlab
from bot.roles.work import open_work
from bot.settings import Settings, load, require


@dataclass(frozen=True, kw_only=True)
class Service:
    """What runs; `told` says where to find it, in one sentence."""

    told: str
    port: int | None
    tasks: tuple[asyncio.Task[None], ...]


async def serve_command(roles: Collection[str]) -> int:
    settings = load()
    set_up_logs(settings.secrets)
    if surplus := settings.surplus(roles):
        told = f"Not used by {', '.join(roles)}, and better not given to it: {', '.join(surplus)}."
        print(told, file=sys.stderr, flush=True)
    if settings.failpoints:
        print(
            f"JOURNEYMAN_FAILPOINTS is set ({settings.failpoints}): this process will die or fail "
            "on purpose. It is for tests only; remove it.",
            file=sys.stderr,
            flush=True,
        )
    await serve(settings, roles)
    return 0


async def serve(settings: Settings, roles: Collection[str]) -> None:
    """Until SIGTERM or Ctrl-C. Raises `SettingsError` when it cannot start."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def told() -> None:
        if not stop.is_set():
            bound()
        stop.set()

    for number in signals:
        loop.add_signal_handler(number, told)
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
    settings = settings.only(roles)
    require(settings, roles)
    async with AsyncExitStack() as stack:
        if settings.failpoints:
            stack.callback(failpoints.disarm)
            failpoints.arm(settings.failpoints, settings.home)
        database = await stack.enter_async_context(
            open_database(
                home=settings.home, url=settings.database_url, fleet=settings.parallel_runs
            )
        )
        reader = await stack.enter_async_context(
            GitLabReader(settings.gitlab_url, settings.gitlab_read_token or settings.gitlab_token)
        )
        if projects := settings.listed_projects:
            await check_gitlab(reader.project(projects[0]))
        opening = Opening(settings=settings, database=database, reader=reader, stack=stack)
        check_database(opening)
        if working := {"worker", "effects"} & set(roles):
            await open_work(opening, working)
        if "front" in roles:
            await open_front_role(opening)
        else:
            await _open_health(opening)
        ready = f"Journeyman is ready ({', '.join(roles)})"
        told = "; ".join(opening.told)
        yield Service(
            told=f"{ready}: {told}." if told else f"{ready}.",
            port=opening.port,
            tasks=tuple(opening.tasks),
        )


async def _open_health(opening: Opening) -> None:
    """Several processes on one host do without rather than refuse to start."""
    host, _ = opening.settings.address
    try:
        await opening.listen(health_pages(opening.health))
    except SettingsError as error:
        opening.told.append(f"no health pages, since {error}".rstrip("."))
    else:
        opening.told.append(f"health on http://{host}:{opening.port}/readyz")
