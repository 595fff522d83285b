"""What each role cannot do without, as its process sees it now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from agent.adapters.gitlab_client import GitLabClient
from agent.errors import ContextOverflow, JourneymanError, ModelRejected, ModelUnavailable
from agent.ports import Answer, Check, Message, Model, ToolSpec
from bot.roles.opening import Opening
from bot.web.health import Health

log = logging.getLogger("journeyman.health")

_OUTSIDE = 15.0  # seconds between two questions to a service of others
_SANDBOX = 600.0  # seconds between two proofs of the sandbox


class Watched:
    """A model, and the outcome of its last call: none is made for its health."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._told = ""

    @property
    def name(self) -> str:
        return self._model.name

    def window_of(self, model: str | None) -> int:
        return self._model.window_of(model)

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, model: str | None = None
    ) -> Answer:
        try:
            answer = await self._model.complete(messages, tools, model=model)
        except ContextOverflow:
            raise
        except (ModelUnavailable, ModelRejected) as error:
            self._told = str(error)
            raise
        self._told = ""
        return answer

    async def outcome(self) -> str:
        return self._told


def check_database(opening: Opening) -> None:
    async def answers() -> str:
        await opening.database.check()
        return ""

    opening.health.add("postgres", answers)


def check_queue(opening: Opening, working: asyncio.Task[None]) -> None:
    async def served() -> str:
        if working.done():
            return "The queue is not served any more by this process."
        return await opening.database.queue_problem()

    opening.health.add("queue", served)


def check_forge(opening: Opening, name: str, client: GitLabClient) -> None:
    async def answers() -> str:
        await client.answers()
        return ""

    opening.health.add(name, answers, keep=_OUTSIDE)


def check_slack(opening: Opening, unreached: Callable[[], Awaitable[str]]) -> None:
    by_socket = bool(opening.settings.slack_app_token)  # which is known here, without asking
    opening.health.add("slack", unreached, keep=2.0 if by_socket else _OUTSIDE)


def check_sandbox(opening: Opening, prove: Callable[[], Awaitable[Sequence[Check]]]) -> None:
    """It was proven at the start, and is again now and then: a host is changed under us, too."""
    told = ""

    async def proving() -> None:
        nonlocal told
        while True:
            await asyncio.sleep(_SANDBOX)
            try:
                failed = [check for check in await prove() if not check.ok]
                told = " ".join(f"{c.name}: {c.detail}. {c.remedy}".strip() for c in failed)
            except JourneymanError as error:
                told = str(error)

    async def outcome() -> str:
        return told

    opening.go(proving(), "sandbox")
    opening.health.add("sandbox", outcome)


def health_pages(health: Health) -> web.Application:
    """For a process without other pages."""
    app = web.Application()
    health.add_routes(app.router)
    return app
