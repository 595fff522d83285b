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

from agent.adapters.database import Database
from agent.adapters.gitlab_forge import GitLabReader
from agent.errors import ForgeRejected, ForgeUnavailable, SettingsError
from agent.project import ProjectSettings
from bot.build import engine_project
from bot.settings import Settings

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

    def project(self, path: str) -> ProjectSettings | None:
        return engine_project(self.settings, path)

    def go(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """A task that ends before whatever was opened before it."""
        task = asyncio.create_task(work, name=name)
        self.tasks.append(task)
        self.stack.push_async_callback(_end, task)


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
