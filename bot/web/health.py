"""Whether this process can do its work, and what it lacks if not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiohttp import web

from agent.errors import JourneymanError

LIMIT = 3.0  #: seconds for one check
PATHS = ("/healthz", "/readyz")

#: Gives the sentence that says what is missing, empty when nothing is; or raises it as one of our
#: own errors.
Check = Callable[[], Awaitable[str]]


@dataclass(frozen=True, kw_only=True)
class Missing:
    name: str
    told: str
    since: datetime


@dataclass(kw_only=True)
class _Part:
    check: Check
    keep: float
    until: float = 0.0
    missing: Missing | None = None
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(kw_only=True)
class Health:
    _parts: dict[str, _Part] = field(default_factory=dict[str, "_Part"])
    _counts: dict[str, Callable[[], int]] = field(default_factory=dict[str, Callable[[], int]])

    def count(self, name: str, of: Callable[[], int]) -> None:
        """A number since the process began, of what should hardly ever be."""
        self._counts[name] = of

    def add(self, name: str, check: Check, *, keep: float = 2.0) -> None:
        """`keep`: seconds for which an answer is good; whoever asks often costs no more."""
        self._parts[name] = _Part(check=check, keep=keep)

    async def missing(self) -> tuple[Missing, ...]:
        found = await asyncio.gather(*(_look(n, part) for n, part in self._parts.items()))
        return tuple(each for each in found if each)

    async def alive(self, request: web.Request) -> web.Response:
        """What is missing as far as it is known: a restart of this process would not bring it."""
        known = [part.missing for part in self._parts.values() if part.missing]
        counts = {name: of() for name, of in self._counts.items()}
        return web.json_response(
            {"status": "ok", **({"counts": counts} if counts else {}), **_told(known)}
        )

    async def ready(self, request: web.Request) -> web.Response:
        if missing := await self.missing():
            return web.json_response({"status": "not ready", **_told(missing)}, status=503)
        return web.json_response({"status": "ok"})

    def add_routes(self, routes: web.UrlDispatcher) -> None:
        routes.add_get("/healthz", self.alive)
        routes.add_get("/readyz", self.ready)


async def _look(name: str, part: _Part) -> Missing | None:
    async with part.asking:
        if time.monotonic() < part.until:
            return part.missing
        try:
            async with asyncio.timeout(LIMIT):
                told = await part.check()
        except TimeoutError:
            told = f"There was no answer within {LIMIT:.0f} s."
        except JourneymanError as error:
            told = str(error)
        before = part.missing
        since = before.since if before else datetime.now(UTC)
        part.missing = Missing(name=name, told=told, since=since) if told else None
        part.until = time.monotonic() + part.keep
        return part.missing


def _told(missing: tuple[Missing, ...] | list[Missing]) -> dict[str, object]:
    if not missing:
        return {}
    return {
        "missing": [
            {"name": m.name, "told": m.told, "since": m.since.isoformat(timespec="seconds")}
            for m in missing
        ]
    }
