"""The web side of the `front` role: pages, health, and whatever else is mounted on it."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from agent.errors import JourneymanError, StoreUnavailable
from agent.ports import Store
from agent.run import Digest, RunId
from agent.state import fold
from bot.web.health import PATHS, Health
from bot.web.pages import Pages
from bot.web.timeline import rows

log = logging.getLogger("journeyman.web")
STATIC = Path(__file__).parent / "static"

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(kw_only=True)
class Live:
    """Wakes the open pages when the log of their run grows."""

    store: Store
    _changed: dict[RunId, asyncio.Event] = field(default_factory=dict[RunId, asyncio.Event])

    async def follow(self) -> None:
        async with self.store.changes() as changes:
            async for run in changes:
                event = self._changed.pop(run, None)
                if event is not None:
                    event.set()

    async def change(self, run: RunId, *, timeout: float) -> None:
        """Returns at the next change, or after the timeout."""
        event = self._changed.setdefault(run, asyncio.Event())
        try:
            async with asyncio.timeout(timeout):
                await event.wait()
        except TimeoutError:
            pass


def make_site(
    store: Store,
    *,
    add_routes: Sequence[Callable[[web.UrlDispatcher], None]] = (),
    public_url: str = "",
    health: Health | None = None,
) -> web.Application:
    """`add_routes` mounts what other parts serve: Slack's events over HTTP, webhooks."""
    app = web.Application(middlewares=[_known_host(public_url), _guard], client_max_size=1 << 20)
    site = Site(store=store, pages=Pages(), live=Live(store=store))
    app.router.add_get("/", site.index)
    app.router.add_get("/runs", site.index)
    app.router.add_get(r"/runs/{run:\d{1,15}}", site.run)
    app.router.add_get(r"/runs/{run:\d{1,15}}/live", site.follow)
    app.router.add_get(r"/runs/{run:\d{1,15}}/bodies/{digest:[0-9a-f]{64}}", site.body)
    (health or Health()).add_routes(app.router)
    app.router.add_static("/static", STATIC)
    for add in add_routes:
        add(app.router)
    app.cleanup_ctx.append(site.following)
    return app


def _known_host(public_url: str) -> Middleware:
    """Refuses requests under a foreign name: a website could point a name of its own at this
    machine, and read the pages from the browser of whoever visits it."""
    ours = {urlsplit(public_url).hostname, "localhost"} - {None}

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = urlsplit(f"//{request.host}").hostname or ""
        if name not in ours and not _is_address(name) and request.path not in PATHS:
            return web.Response(
                status=421, text=f"{name} is not a name of this service: see JOURNEYMAN_PUBLIC_URL."
            )
        return await handler(request)

    return middleware


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except StoreUnavailable as error:
        response = web.Response(status=503, text=str(error))
    except JourneymanError as error:
        response = web.Response(status=404, text=str(error))
    if not response.prepared:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
    return response


@dataclass(kw_only=True)
class Site:
    store: Store
    pages: Pages
    live: Live

    @asynccontextmanager
    async def following(self, app: web.Application) -> AsyncGenerator[None]:
        task = asyncio.create_task(self.live.follow(), name="live pages")
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def index(self, request: web.Request) -> web.Response:
        runs = await self.store.runs(limit=100)
        return _html(self.pages.index(runs))

    async def run(self, request: web.Request) -> web.Response:
        run = RunId(int(request.match_info["run"]))
        events = await self.store.events(run)
        if not events:
            return web.Response(status=404, text=f"There is no run {run}.")
        return _html(self.pages.run(fold(events), list(rows(events))))

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: `head` (the summary again) and `row` (one more event each)."""
        run = RunId(int(request.match_info["run"]))
        after = int(request.headers.get("Last-Event-ID") or request.query.get("after") or 0)
        stream = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await stream.prepare(request)
        seen = after
        while True:
            events = await self.store.events(run)
            fresh = [event for event in events if event.seq > seen]
            if fresh:
                for row in rows(fresh):
                    await stream.write(_sse("row", self.pages.row(run, row), id=row.seq))
                await stream.write(_sse("head", self.pages.head(fold(events))))
                seen = fresh[-1].seq
            else:
                await stream.write(b": still here\n\n")
            await self.live.change(run, timeout=20)

    async def body(self, request: web.Request) -> web.Response:
        run = RunId(int(request.match_info["run"]))
        data = await self.store.body(run, Digest(request.match_info["digest"]))
        return web.Response(text=data.decode("utf-8", "replace"), content_type="text/plain")


def _html(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html")


def _sse(event: str, text: str, *, id: int | None = None) -> bytes:
    data = "".join(f"data: {line}\n" for line in text.splitlines())
    marker = f"id: {id}\n" if id is not None else ""
    return f"event: {event}\n{marker}{data}\n".encode()
