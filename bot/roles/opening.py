"""What the roles of one process share while they are opened."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from agent.adapters.database import Database
from agent.adapters.gitlab_forge import GitLabReader
from agent.errors import ForgeRejected, ForgeUnavailable, SettingsError
from agent.project import ProjectSettings
from bot.build import engine_project
from bot.settings import Settings
from bot.web.health import Health

log = logging.getLogger("journeyman")


@dataclass(kw_only=True)
class Opening:
    """`stack` closes what was opened; what was opened last, first."""

    settings: Settings
    database: Database
    reader: GitLabReader
    stack: AsyncExitStack
    name: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    told: list[str] = field(default_factory=list[str])  #: where to find it, in words
    port: int | None = None
    health: Health = field(default_factory=Health)

    def project(self, path: str) -> ProjectSettings | None:
        return engine_project(self.settings, path)

    def go(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """A task that ends before whatever was opened before it."""
        task = asyncio.create_task(work, name=name)
        self.tasks.append(task)
        self.stack.push_async_callback(_end, task)
        return task

    async def listen(self, site: web.Application) -> None:
        """Raises `SettingsError`."""
        host, port = self.settings.address
        runner = web.AppRunner(site, access_log=None, shutdown_timeout=2)
        await runner.setup()
        self.stack.push_async_callback(runner.cleanup)
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise SettingsError(
                f"JOURNEYMAN_LISTEN is {host}:{port}, where nothing can listen "
                f"({error.strerror}): choose another port, or stop what holds it."
            ) from error
        self.port = int(runner.addresses[0][1])


async def check_gitlab(asked: Awaitable[object]) -> None:
    """A wrong token is told at the start; a GitLab that is down is waited for later."""
    try:
        await asked
    except ForgeUnavailable as error:
        log.warning("gitlab_down", extra={"reason": str(error)})
    except ForgeRejected as error:
        if error.status in (401, 403):
            raise SettingsError(str(error)) from error
        log.warning("gitlab_refuses", extra={"reason": str(error)})


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
