"""The server: one listening socket for API, git, hooks' control and pages."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

from agent.ports import Sandbox
from playground.faults import (
    STALE_SECONDS,
    Fault,
    FaultMode,
    Faults,
    add_control_routes,
    fault_middleware,
)
from playground.gitlab import api, control, git_http, merging, oauth_pages, pages, project_seed
from playground.gitlab.answers import answer
from playground.gitlab.forge import Forge
from playground.gitlab.git_repo import GitError
from playground.gitlab.http import ACTOR, PUSHED, ApiError, Call, Route, json_response
from playground.gitlab.params import parameters
from playground.gitlab.records import Project, User
from playground.gitlab.runner import Image
from playground.gitlab.state import Seen, State

GIT = re.compile(
    r"/(?P<path>.+?)(?:\.git)?/(?P<service>info/refs|git-upload-pack|git-receive-pack)"
)
SHORT = 2048  #: bytes of an answer that are kept


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One call of the API in full, for who holds it against a description."""

    method: str
    path: str  #: raw, without query
    params: dict[str, Any]  #: of query and body
    status: int
    answer: bytes
    content_type: str


class GitLabStandIn:
    """`async with GitLabStandIn(folder) as gitlab:` serves at `gitlab.url` until the end."""

    def __init__(
        self,
        folder: Path,
        *,
        sandbox: Sandbox | None = None,
        image: Image | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.forge = Forge(folder.absolute(), sandbox=sandbox, image=image)
        self.faults = Faults()
        #: told of every answer of the API
        self.on_exchange: Callable[[Exchange], None] | None = None
        self._host, self._port = host, port
        self._runner: web.AppRunner | None = None
        self._history: dict[tuple[str, str], deque[tuple[float, web.Response]]] = {}

    @property
    def state(self) -> State:
        return self.forge.state

    @property
    def url(self) -> str:
        return self.forge.url

    async def __aenter__(self) -> GitLabStandIn:
        git_http.install_hooks(self.forge.folder / "hooks")
        self.forge.pipelines.on_finished = lambda project, pipeline: merging.pipeline_finished(
            self.forge, project, pipeline
        )
        self.forge.webhooks.copies = self._copies
        self.forge.pipelines.faults = lambda job: self.faults.meet(
            job, FaultMode.JOB_FAILS, FaultMode.JOB_WAITS
        )
        await self.forge.webhooks.open()
        middleware = fault_middleware(self.faults, call_of=self._call_of, failure=_failure)
        app = web.Application(middlewares=[self._recorded, middleware], client_max_size=256 << 20)
        add_control_routes(app, self.faults)
        control.add_routes(app, self.state)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.forge.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.forge.pipelines.close()
        if self._runner:
            await self._runner.cleanup()
        await self.forge.webhooks.close()

    # --- seeds

    async def add_project(
        self,
        path: str,
        *,
        owner: User,
        source: Path | None = None,
        visibility: str = "private",
        protect: bool = True,
        **settings: Any,
    ) -> Project:
        """`path` is `namespace/name`, the namespace a user or a group (made if missing). `source`
        is a git repository or a plain folder whose files become the first commit."""
        return await project_seed.seed(
            self.forge,
            path,
            owner=owner,
            source=source,
            visibility=visibility,
            protect=protect,
            settings=settings,
        )

    # --- requests

    @web.middleware
    async def _recorded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        status, said, arrived = 500, b"", self.state.now()
        try:
            response = await handler(request)
            status = response.status
            body = response.body if isinstance(response, web.Response) else None
            if isinstance(body, bytes) and len(body) <= SHORT:
                said = body
        except web.HTTPException as redirect:
            status = redirect.status
            raise
        finally:
            if not request.raw_path.startswith("/control/"):
                self._remember(request, arrived, status, await _sent(request), said)
        return response

    def _remember(
        self, request: web.Request, arrived: datetime, status: int, body: bytes, said: bytes
    ) -> None:
        seen = Seen(
            arrived=arrived,
            at=self.state.now(),
            actor=request.get(ACTOR, ""),
            method=request.method,
            path=request.raw_path,
            status=status,
            body=body,
            pushed=request.get(PUSHED, ()),
            answer=said,
        )
        self.state.requests.append(seen)

    def _call_of(self, request: web.Request) -> str | None:
        if request.raw_path.startswith("/control/"):
            return None
        if oauth_pages.page_of(request):
            return f"{request.method} {request.path}"
        if not request.raw_path.startswith(api.ROOT + "/"):
            found = GIT.fullmatch(request.raw_path.partition("?")[0])
            return f"{request.method} {found['service']}" if found else f"{request.method} page"
        found = api.match(request.method, request.raw_path)
        name = found[0].name if not isinstance(found, bool) else request.path
        return f"{request.method} {name}"

    def _copies(self, event: str) -> int:
        return 1 + len(self.faults.meet(f"hook:{event}", FaultMode.DUPLICATE))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        if path.startswith(api.ROOT + "/"):
            return await self._api(request)
        if page := oauth_pages.page_of(request):
            return await page(self.forge, request)
        if found := GIT.fullmatch(request.path):
            return await git_http.serve(self.forge, request, found["path"], found["service"])
        return await pages.serve(self.forge, request)

    async def _api(self, request: web.Request) -> web.StreamResponse:
        params: dict[str, Any] = {}
        try:
            found = api.match(request.method, request.raw_path)
            actor, scopes = self.forge.auth.identify(request)
            request[ACTOR] = actor.username if actor else ""
            if isinstance(found, bool):
                if found:
                    raise ApiError(405, {"error": "405 Not Allowed"})
                raise ApiError(404, {"error": "404 Not Found"})
            route, path = found
            _check(route, actor, scopes)
            params = await parameters(request)
            call = Call(
                forge=self.forge,
                request=request,
                actor=actor,
                scopes=scopes,
                path=path,
                params=params,
                route=route,
            )
            response = await answer(call, await route.handler(call))
        except ApiError as refusal:
            response = json_response(refusal.body, refusal.status)
        except GitError as problem:
            response = json_response({"message": str(problem)}, 400)
        self._tell(request, params, response)
        return self._aged(request, response)

    def _tell(
        self, request: web.Request, params: dict[str, Any], response: web.StreamResponse
    ) -> None:
        if self.on_exchange and isinstance(response, web.Response):
            body = response.body
            exchange = Exchange(
                method=request.method,
                path=request.raw_path.partition("?")[0],
                params=params,
                status=response.status,
                answer=body if isinstance(body, bytes) else b"",
                content_type=response.content_type,
            )
            self.on_exchange(exchange)

    def _aged(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        """Under `stale_reads`, the oldest answer of the last seconds to the same question."""
        if request.method != "GET" or not isinstance(response, web.Response):
            return response
        if not self.faults.entries:
            self._history.clear()
            return response
        now = self.state.monotonic()
        past = self._history.setdefault(
            (request.get(ACTOR, ""), request.raw_path), deque(maxlen=50)
        )
        past.append((now, response))
        since = now - request.get(STALE_SECONDS, 0.0)
        old = next(kept for moment, kept in past if moment >= since)
        if old is response:
            return response
        headers = {k: v for k, v in old.headers.items() if k not in ("Content-Length", "Date")}
        return web.Response(body=old.body, status=old.status, headers=headers)


async def _sent(request: web.Request) -> bytes:
    """The body, which may not have been read by who answered."""
    if GIT.fullmatch(request.path):
        return b""
    try:
        if request.content_type == "multipart/form-data":
            fields = {k: v for k, v in (await request.post()).items() if isinstance(v, str)}
            return json.dumps(fields).encode()
        return await request.read()
    except (web.HTTPException, OSError, ValueError, RuntimeError):
        return b""  # cut off on its way


def _check(route: Route, actor: User | None, scopes: frozenset[str]) -> None:
    if actor is None and not route.anonymous:
        raise ApiError(401, "401 Unauthorized")
    if actor is not None and not scopes & route.scopes:
        raise ApiError(
            403,
            {
                "error": "insufficient_scope",
                "error_description": "The request requires higher privileges than provided by "
                "the access token.",
                "scope": " ".join(sorted(route.scopes)),
            },
        )
    if route.admin and not (actor and actor.admin):
        raise ApiError(403, "403 Forbidden")


def _failure(fault: Fault) -> web.Response:
    return json_response({"message": fault.error or f"{fault.status} Error"}, fault.status)
