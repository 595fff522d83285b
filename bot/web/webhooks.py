"""POST /gitlab/events: deliveries of GitLab's webhooks, which wake runs and the index of code, and
decide nothing."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol, TypeGuard

from aiohttp import web

from agent.errors import Unavailable
from agent.hints import Hint, HintKind
from agent.run import CommitSha
from bot.records import Json, record

log = logging.getLogger("journeyman.webhooks")

MAX_BODY = 4 * 1024 * 1024  #: a pipeline with all its jobs
SOURCE = "gitlab"
MOMENT = 2.0  #: seconds that GitLab, or the next delivery, waits for one to be heard
_SKEW = 300
#: Statuses of a pipeline that say nothing yet. A job that is done says nothing either: the last
#: one settles its pipeline.
_UNDECIDED = frozenset(
    {
        *("created", "waiting_for_resource", "preparing", "waiting_for_callback"),
        *("pending", "running", "canceling", "scheduled"),
    }
)
_TELLS_HEAD = frozenset({HintKind.PUSHED, HintKind.ADVANCED})
_ACTIONS = {
    "close": HintKind.CLOSED,
    "reopen": HintKind.REOPENED,
    "merge": HintKind.MERGED,
    "approved": HintKind.APPROVAL,
    "approval": HintKind.APPROVAL,
    "unapproved": HintKind.APPROVAL,
    "unapproval": HintKind.APPROVAL,
}
#: The branch that the runs of a project begin on, given the one that GitLab calls the default;
#: empty where there is no run.
Begins = Callable[[str, str], str]
_going = set[asyncio.Task[None]]()  # else nothing holds them


class Deliveries(Protocol):
    """Where deliveries are kept. Raises `StoreUnavailable`."""

    async def accept(self, source: str, key: str, payload: Mapping[str, Any]) -> int | None: ...
    async def handled(self, id: int) -> None: ...
    async def failed(self, id: int, error: str) -> None: ...


def add_gitlab_events(
    secret: str,
    deliveries: Deliveries,
    hear: Callable[[Hint], Awaitable[object]],
    *,
    begins: Begins = lambda project, default: "",
    now: Callable[[], float] = time.time,
) -> Callable[[web.UrlDispatcher], None]:
    """Without a secret there is no such page."""

    async def events(request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        if body is None:
            return web.Response(status=413)
        if not verified(secret, body, request.headers, now=now()):
            return web.Response(status=401)
        try:
            hint = read(record(json.loads(body)), begins)
        except (UnicodeDecodeError, ValueError, RecursionError):
            return web.Response(status=400)
        if hint is None:
            return web.Response(text="Nothing that concerns a run.")
        delivery = await deliveries.accept(SOURCE, _key(request.headers, body), _stored(hint))
        if delivery is None:
            return web.Response(text="Known already.")
        try:
            await _a_moment(_finish(deliveries, delivery, hear, hint))
        except Unavailable as error:  # it is stored, and comes again
            log.warning("hint_unmarked", extra={"delivery": delivery, "reason": str(error)})
        return web.Response(text="Stored.")

    def add(routes: web.UrlDispatcher) -> None:
        if secret:
            routes.add_post("/gitlab/events", events)

    return add


def hear_again(
    deliveries: Deliveries, hear: Callable[[Hint], Awaitable[object]]
) -> Callable[[int, Mapping[str, Any]], Awaitable[None]]:
    """For what was stored and never finished."""

    async def again(delivery: int, stored: Mapping[str, Any]) -> None:
        await _a_moment(_finish(deliveries, delivery, hear, _of(stored)))

    return again


async def _finish(
    deliveries: Deliveries,
    delivery: int,
    hear: Callable[[Hint], Awaitable[object]],
    hint: Hint | None,
) -> None:
    """What is away costs none of the attempts that there are."""
    try:
        if hint is not None:
            await hear(hint)
    except Unavailable as error:
        log.warning("hint_waits", extra={"delivery": delivery, "reason": str(error)})
        await deliveries.failed(delivery, str(error))
    else:
        await deliveries.handled(delivery)


async def _a_moment(hearing: Coroutine[Any, Any, None]) -> None:
    """What takes longer goes on by itself: until it is done the delivery stays stored."""
    task = asyncio.create_task(hearing)
    _going.add(task)
    task.add_done_callback(_going.discard)
    done, _ = await asyncio.wait({task}, timeout=MOMENT)
    if done:
        task.result()
    else:
        task.add_done_callback(_told)


def _told(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.warning("hint_waits", extra={"reason": str(error)})


def verified(secret: str, body: bytes, headers: Mapping[str, str], *, now: float) -> bool:
    """By the hook's secret token, or by its signature; what says that it is old is a replay
    either way. Never raises, whatever was sent."""
    if not secret or not _fresh(headers.get("webhook-timestamp"), now):
        return False
    token = headers.get("X-Gitlab-Token", "")
    by_token = hmac.compare_digest(_bytes(secret), _bytes(token))
    return by_token or _signed(secret, body, headers, now)


def _signed(secret: str, body: bytes, headers: Mapping[str, str], now: float) -> bool:
    moment, key = headers.get("webhook-timestamp", ""), headers.get("webhook-id", "")
    if not moment or not key:
        return False
    signed = _bytes(f"{key}.{moment}.") + body
    digest = hmac.new(_signing_key(secret), signed, hashlib.sha256).digest()
    expected = b"v1," + base64.b64encode(digest)
    given = headers.get("webhook-signature", "").split(" ")[:10]
    return any([hmac.compare_digest(expected, _bytes(each)) for each in given])


def _fresh(moment: str | None, now: float) -> bool:
    if moment is None:
        return True
    return re.fullmatch(r"[0-9]{1,12}", moment) is not None and abs(now - int(moment)) <= _SKEW


def _signing_key(secret: str) -> bytes:
    """A token that begins with `whsec_` carries its key in base64."""
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            pass
    return _bytes(secret)


def read(payload: Json, begins: Begins = lambda project, default: "") -> Hint | None:
    """None for what settles nothing on a branch that a run may watch, and is no new code that runs
    would begin on. Texts and variables of a delivery are none of our business."""
    about = record(payload.get("object_attributes"))
    merge = record(payload.get("merge_request"))
    match payload.get("object_kind"):
        case "pipeline" if about.get("status") not in _UNDECIDED:
            kind, branch = HintKind.PIPELINE, merge.get("source_branch") or about.get("ref")
        case "push":
            kind, branch = HintKind.PUSHED, str(payload.get("ref", "")).removeprefix("refs/heads/")
        case "merge_request" if found := _done_to(about, record(payload.get("changes"))):
            kind, branch, merge = found, about.get("source_branch"), about
        case "note" if merge and not about.get("system"):
            kind, branch = HintKind.NOTE, merge.get("source_branch")
        case _:
            return None
    project = record(payload.get("project")).get("path_with_namespace")
    if not isinstance(branch, str) or not isinstance(project, str):
        return None
    if len(project) + len(branch) > 1000:
        return None
    head = payload.get("after") or record(about.get("last_commit")).get("id")
    if not branch.startswith("agent/") and payload.get("object_kind") in ("push", "note"):
        # nobody's who watches; where runs deliver to, a pipeline follows
        default = record(payload.get("project")).get("default_branch")
        told = payload.get("object_kind") == "push" and payload.get("ref") == f"refs/heads/{branch}"
        if not told or not _is_sha(head) or not head.strip("0"):
            return None
        if branch != begins(project, default if isinstance(default, str) else ""):
            return None
        kind = HintKind.ADVANCED
    return Hint(
        kind=kind,
        project=project,
        branch=branch,
        iid=_number(merge.get("iid")),
        head=CommitSha(head) if kind in _TELLS_HEAD and _is_sha(head) else None,
    )


def _done_to(about: Json, changes: Json) -> HintKind | None:
    """What was done to a merge request, but for texts and labels."""
    if about.get("action") != "update":
        return _ACTIONS.get(str(about.get("action")))
    if "target_branch" in changes:
        return HintKind.RETARGETED
    return HintKind.PUSHED if about.get("oldrev") else None


def _stored(hint: Hint) -> Json:
    return {
        "kind": hint.kind,
        "project": hint.project,
        "branch": hint.branch,
        "iid": hint.iid,
        "head": hint.head,
    }


def _of(stored: Mapping[str, Any]) -> Hint | None:
    """What was stored of a delivery; None for one of an older version."""
    try:
        return Hint(
            kind=HintKind(stored["kind"]),
            project=stored["project"],
            branch=stored["branch"],
            iid=stored["iid"],
            head=stored["head"],
        )
    except (KeyError, ValueError):
        return None


def _number(value: object) -> int:
    return value if isinstance(value, int) and 0 < value < 2**31 else 0


def _is_sha(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{40,64}", value) is not None


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
