"""POST /slack/events: signed deliveries from Slack."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiohttp import web

from bot.signature import verified

MAX_BODY = 1024 * 1024

#: Status, headers and body of the answer to a verified request.
Answer = tuple[int, Mapping[str, Sequence[str]], str]
Receive = Callable[[str, Mapping[str, Sequence[str]]], Awaitable[Answer]]


def add_slack_events(
    secret: str, receive: Receive, *, now: Callable[[], float] = time.time
) -> Callable[[web.UrlDispatcher], None]:
    """A request that is not Slack's gets 401 and leaves no trace of its body."""

    async def events(request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        if body is None or not verified(
            secret,
            body,
            timestamp=request.headers.get("X-Slack-Request-Timestamp", ""),
            signature=request.headers.get("X-Slack-Signature", ""),
            now=now(),
        ):
            return web.Response(status=401)
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return web.Response(status=400)
        headers = {name.lower(): [value] for name, value in request.headers.items()}
        status, answered, content = await receive(text, headers)
        kind = next((v[0] for k, v in answered.items() if k.lower() == "content-type"), "")
        return web.Response(
            status=status, text=content, content_type=kind.partition(";")[0] or "text/plain"
        )

    def add(routes: web.UrlDispatcher) -> None:
        routes.add_post("/slack/events", events)

    return add


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
