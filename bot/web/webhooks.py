"""POST /gitlab/events: deliveries of GitLab's webhooks, which wake runs and decide nothing."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from agent.errors import StoreUnavailable
from bot.records import Json, record

log = logging.getLogger("journeyman.webhooks")

MAX_BODY = 4 * 1024 * 1024  #: a pipeline with all its jobs
SOURCE = "gitlab"
_SKEW = 300
_FINAL = ("success", "failed", "canceled")


class Deliveries(Protocol):
    """Where deliveries are kept. Raises `StoreUnavailable`."""

    async def accept(self, source: str, key: str, payload: Mapping[str, Any]) -> int | None: ...
    async def handled(self, id: int) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Happened:
    """What is taken from a delivery: its texts and variables are none of our business."""

    kind: str
    project: str
    branch: str


def add_gitlab_events(
    secret: str,
    deliveries: Deliveries,
    changed: Callable[[str, str], Awaitable[object]],
    *,
    now: Callable[[], float] = time.time,
) -> Callable[[web.UrlDispatcher], None]:
    """`changed` is told project and branch. Without a secret there is no such page."""

    async def events(request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        if body is None:
            return web.Response(status=413)
        if not verified(secret, body, request.headers, now=now()):
            return web.Response(status=401)
        try:
            happened = read(record(json.loads(body)))
        except (UnicodeDecodeError, ValueError, RecursionError):
            return web.Response(status=400)
        if happened is None:
            return web.Response(text="Nothing that concerns a run.")
        told = {"kind": happened.kind, "project": happened.project, "branch": happened.branch}
        delivery = await deliveries.accept(SOURCE, _key(request.headers, body), told)
        if delivery is None:
            return web.Response(text="Known already.")
        try:
            await changed(happened.project, happened.branch)
            await deliveries.handled(delivery)
        except StoreUnavailable as error:  # it is stored; without it the run looks a bit later
            log.warning("hint_lost", extra={"delivery": delivery, "reason": str(error)})
        return web.Response(text="Stored.")

    def add(routes: web.UrlDispatcher) -> None:
        if secret:
            routes.add_post("/gitlab/events", events)

    return add


def verified(secret: str, body: bytes, headers: Mapping[str, str], *, now: float) -> bool:
    """By the hook's secret token, or by its signature. Never raises, whatever was sent."""
    if not secret:
        return False
    token = headers.get("X-Gitlab-Token", "")
    by_token = hmac.compare_digest(_bytes(secret), _bytes(token))
    return by_token or _signed(secret, body, headers, now)


def _signed(secret: str, body: bytes, headers: Mapping[str, str], now: float) -> bool:
    moment, key = headers.get("webhook-timestamp", ""), headers.get("webhook-id", "")
    if not re.fullmatch(r"[0-9]{1,12}", moment) or abs(now - int(moment)) > _SKEW or not key:
        return False
    signed = _bytes(f"{key}.{moment}.") + body
    digest = hmac.new(_signing_key(secret), signed, hashlib.sha256).digest()
    expected = b"v1," + base64.b64encode(digest)
    given = headers.get("webhook-signature", "").split(" ")[:10]
    return any([hmac.compare_digest(expected, _bytes(each)) for each in given])


def _signing_key(secret: str) -> bytes:
    """A token that begins with `whsec_` carries its key in base64."""
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            pass
    return _bytes(secret)


def read(payload: Json) -> Happened | None:
    """None for what tells nothing of a branch that a run may watch."""
    kind = payload.get("object_kind")
    about = record(payload.get("object_attributes"))
    match kind:
        case "pipeline":
            merge = record(payload.get("merge_request"))
            branch = merge.get("source_branch") or about.get("ref")
        case "build" if payload.get("build_status") in _FINAL:
            branch = payload.get("ref")
        case "push":
            branch = str(payload.get("ref", "")).removeprefix("refs/heads/")
        case "merge_request":
            branch = about.get("source_branch")
        case _:
            return None
    project = record(payload.get("project")).get("path_with_namespace")
    if not isinstance(branch, str) or not isinstance(project, str):
        return None
    if not branch.startswith("agent/") or len(project) + len(branch) > 1000:
        return None
    return Happened(kind=str(kind), project=project, branch=branch)


def _key(headers: Mapping[str, str], body: bytes) -> str:
    """What stays the same when GitLab delivers again; older ones name no such thing."""
    given = headers.get("webhook-id") or headers.get("Idempotency-Key") or ""
    return given[:200] or hashlib.sha256(body).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


async def _body(request: web.Request) -> bytes | None:
    """None when there is more than may be."""
    if (request.content_length or 0) > MAX_BODY:
        return None
    body = bytearray()
    async for chunk in request.content.iter_chunked(65_536):
        body += chunk
        if len(body) > MAX_BODY:
            return None
    return bytes(body)
