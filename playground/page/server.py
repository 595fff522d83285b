"""The page's server: static files, one stream of changes, one way to act. Loopback only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from playground.page.actions import Actions, Refused
from playground.page.chat import Chat
from playground.page.forge import ForgeView
from playground.page.live import Live

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

STATIC = Path(__file__).parent / "static"
PING_SECONDS = 15.0
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' http://127.0.0.1:* http://localhost:*; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
#: Kinds of files that a browser may show; everything else is a download.
SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


class Page:
    """`model` is the line that says which model answers."""

    def __init__(
        self, chat: Chat, forge: ForgeView, actions: Actions, *, model: str = "", port: int = 0
    ) -> None:
        self.chat = chat
        self.forge = forge
        self.actions = actions
        self.model = model
        self.port = port
        self._runner: web.AppRunner | None = None
        self._streams: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._index)
        app.router.add_static("/static", STATIC)
        app.router.add_get("/api/events", self._events)
        app.router.add_post("/api/act", self._act)
        app.router.add_get("/api/diff", self._diff)
        app.router.add_get("/api/trace", self._trace)
        app.router.add_get("/api/file", self._file)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for stream in tuple(self._streams):
            stream.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """No other site may read or act through the visitor's browser."""
        host = request.headers.get("Host", "")
        origin = request.headers.get("Origin")
        allowed = {f"{name}:{self.port}" for name in ("127.0.0.1", "localhost")}
        if host not in allowed or (origin is not None and origin != f"http://{host}"):
            return web.json_response({"error": "Open the page by its own address."}, status=403)
        try:
            response = await handler(request)
        except (KeyError, ValueError, TypeError, AttributeError):
            response = web.json_response({"error": "The request is incomplete."}, status=400)
        except LookupError as missing:
            response = web.json_response({"error": str(missing.args[0])}, status=404)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    async def _index(self, _: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "index.html")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        people = self.chat.people()
        wanted = request.query.get("user")
        me = next((each.id for each in people if each.id == wanted), people[0].id)
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        with suppress(ConnectionResetError, asyncio.CancelledError):
            await self._stream(response, me)
        self._streams.discard(task)
        return response

    async def _stream(self, response: web.StreamResponse, me: str) -> None:
        events = Live(self.chat, self.forge, me).events()
        following = asyncio.ensure_future(anext(events))
        try:
            while True:
                done, _ = await asyncio.wait({following}, timeout=PING_SECONDS)
                if not done:
                    await response.write(b": still here\n\n")
                    continue
                name, data = following.result()
                if name == "snapshot":
                    data["model"] = self.model
                await response.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
                following = asyncio.ensure_future(anext(events))
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
            await events.aclose()

    async def _act(self, request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/json":
            return web.json_response({"error": "Send JSON."}, status=415)
        body = await request.json()
        try:
            return web.json_response(await self.actions.do(body))
        except Refused as refused:
            return web.json_response({"error": str(refused)}, status=409)

    async def _diff(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        files = await self.forge.files(query["project"], int(query["iid"]))
        return web.json_response({"files": files})

    async def _trace(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        return web.json_response({"text": self.forge.trace(query["project"], int(query["job"]))})

    async def _file(self, request: web.Request) -> web.StreamResponse:
        file = self.chat.world.files.get(request.query["id"])
        if file is None:
            raise LookupError("This file is gone.")
        shown = file.mimetype in SHOWN
        headers = {} if shown else {"Content-Disposition": "attachment"}
        kind = file.mimetype if shown else "application/octet-stream"
        return web.Response(body=file.content, content_type=kind, headers=headers)
