"""The server of the stand-in: what answers where."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from playground.faults import STALE_SECONDS, Fault, Faults, add_control_routes, fault_middleware
from playground.ledger import Ledger
from playground.slack.delivery import Delivery
from playground.slack.limits import Limits
from playground.slack.methods import METHODS, ApiError, Call, Method
from playground.slack.people import People
from playground.slack.records import Token
from playground.slack.responses import respond
from playground.slack.socket_mode import SocketMode
from playground.slack.workspace import Workspace
from playground.slack.world import World

Json = dict[str, Any]
ARGS: web.RequestKey[Json] = web.RequestKey("args", dict)
UPLOAD_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class ApiCall:
    """One call of the Web API and its answer."""

    at: float
    method: str
    args: Json  #: without the token
    status: int
    answer: Json


class SlackStandIn:
    """A Slack workspace that listens on loopback for as long as the context lasts."""

    def __init__(
        self,
        world: World,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        request_url: str = "",
        speed: float = 1.0,
        limits: Limits | None = None,
    ) -> None:
        """Deliveries go to `request_url`, signed, or by Socket Mode when it is empty; their
        retries come `speed` times as fast as Slack's."""
        self.world = world
        self.host, self.port = host, port
        self.faults = Faults()
        self.limits = limits or Limits(clock=world.clock)
        self.sockets = SocketMode(app_id=world.app.id)
        self.delivery = Delivery(
            world=world,
            faults=self.faults,
            sockets=self.sockets,
            request_url=request_url,
            speed=speed,
        )
        self.workspace = Workspace(world=world, delivery=self.delivery)
        self.people = People(workspace=self.workspace)
        self.calls: Ledger[ApiCall] = Ledger()
        #: what was sent to the addresses that come with clicks
        self.responses: Ledger[Json] = Ledger()
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def api_url(self) -> str:
        """What `SLACK_API_URL` has to be."""
        return f"{self.base_url}/api/"

    def calls_of(self, method: str) -> list[ApiCall]:
        return [each for each in self.calls if each.method == method]

    async def __aenter__(self) -> SlackStandIn:
        faults = fault_middleware(self.faults, call_of=_call_of, failure=_failure)
        middlewares: Any = [self._keep_log, faults]
        app = web.Application(middlewares=middlewares, client_max_size=UPLOAD_BYTES)
        add_control_routes(app, self.faults)
        app.router.add_post("/control/sockets", self._control_sockets)
        app.router.add_route("*", "/api/{method}", self._api)
        app.router.add_get("/link/", self.sockets.serve)
        app.router.add_post("/upload/v1/{file}", self._upload)
        app.router.add_post("/actions/{team}/{hook}", self._respond)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.workspace.base_url = self.base_url
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.delivery.close()
        await self.sockets.cut()
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _keep_log(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Read the arguments once, and keep what was asked and answered."""
        method = request.match_info.get("method")
        if method is None:
            return await handler(request)
        try:
            request[ARGS] = await _arguments(request)
        except ValueError:
            return web.json_response({"ok": False, "error": "invalid_json"})
        answer = await handler(request)
        shown = {key: value for key, value in request[ARGS].items() if key != "token"}
        text = answer.text if isinstance(answer, web.Response) else None
        self.calls.append(
            ApiCall(
                at=self.world.clock(),
                method=method,
                args=shown,
                status=answer.status,
                answer=json.loads(text) if text and text.startswith("{") else {},
            )
        )
        return answer

    async def _api(self, request: web.Request) -> web.Response:
        name = request.match_info["method"]
        headers: dict[str, str] = {}
        try:
            method = METHODS.get(name)
            if method is None:
                raise ApiError("unknown_method", req_method=name)
            token = self._token(request, method)
            headers = {
                "x-oauth-scopes": ",".join(sorted(token.scopes)),
                "x-accepted-oauth-scopes": ",".join(method.scopes),
            }
            args = request[ARGS]
            wait = self.limits.take(name, method.per_minute, str(args.get("channel", "")))
            if wait:
                answer = {"ok": False, "error": "ratelimited"}
                return web.json_response(answer, status=429, headers={"Retry-After": str(wait)})
            call = Call(
                workspace=self.workspace,
                token=token,
                args=args,
                stale_seconds=request.get(STALE_SECONDS, 0.0),
            )
            call.require(*method.scopes)
            answer = {"ok": True, **await method.answer(call)}
        except ApiError as refused:
            answer = refused.answer
        return web.json_response(answer, headers=headers)

    def _token(self, request: web.Request, method: Method) -> Token:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        given = bearer if scheme.lower() == "bearer" else request[ARGS].get("token")
        if not given:
            raise ApiError("not_authed")
        token = self.world.tokens.get(str(given))
        if token is None:
            raise ApiError("invalid_auth")
        if token.problem:
            raise ApiError(token.problem)
        if token.kind not in method.tokens:
            raise ApiError("not_allowed_token_type")
        return token

    async def _control_sockets(self, request: web.Request) -> web.Response:
        """`{"do": …}`: "refresh_requested" and "warning" as Slack announces them, or "cut"."""
        try:
            wanted = json.loads(await request.text())
        except ValueError:
            wanted = None
        order = wanted.get("do") if isinstance(wanted, dict) else None
        had = len(self.sockets.connections)
        if order == "cut":
            await self.sockets.cut()
        elif order in ("refresh_requested", "warning"):
            await self.sockets.disconnect(order)
        else:
            told = "`do` is refresh_requested, warning or cut."
            return web.json_response({"error": told}, status=400)
        return web.json_response({"connections": had})

    async def _upload(self, request: web.Request) -> web.Response:
        file = self.world.files.get(request.match_info["file"])
        if file is None or file.uploaded:
            return web.Response(status=404, text="no such upload")
        content = await _content(request)
        if str(len(content)) != request.query.get("length"):
            return web.Response(status=400, text="the length is not the announced one")
        self.world.put_file(replace(file, content=content, uploaded=True))
        return web.Response(text=f"OK - {len(content)}")

    async def _respond(self, request: web.Request) -> web.Response:
        name = f"{request.match_info['team']}/{request.match_info['hook']}"
        try:
            body = await request.json()
            self.responses.append(body)
            respond(self.workspace, name, body)
        except ApiError as refused:
            status = 404 if refused.error in ("used_url", "expired_url") else 400
            return web.json_response(refused.answer, status=status)
        except ValueError:
            return web.json_response({"ok": False, "error": "invalid_payload"}, status=400)
        return web.Response(text="ok")


def _call_of(request: web.Request) -> str | None:
    """The names under which faults find calls."""
    info = request.match_info
    if "method" in info:
        return info["method"]
    return "upload" if "file" in info else "response_url" if "hook" in info else None


def _failure(fault: Fault) -> web.Response:
    if fault.error:
        return web.json_response({"ok": False, "error": fault.error})
    return web.Response(status=fault.status, text="")


async def _arguments(request: web.Request) -> Json:
    """From the query, a form or a JSON body. Raise ValueError when the body is not JSON."""
    args: Json = dict(request.query)
    if request.content_type == "application/json":
        body = json.loads(await request.text() or "{}")
        if not isinstance(body, dict):
            raise ValueError("the body is not an object")
        return args | body
    if request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
        form = await request.post()
        args |= {key: value for key, value in form.items() if isinstance(value, str)}
    return args


async def _content(request: web.Request) -> bytes:
    if request.content_type != "multipart/form-data":
        return await request.read()
    form = await request.post()
    for field in form.values():
        if isinstance(field, web.FileField):
            return field.file.read()
    return b""
