"""Turns what handlers return into GitLab's answers, lists into pages with their headers."""

from __future__ import annotations

import inspect
from typing import Any
from urllib.parse import parse_qsl, urlencode

from aiohttp import web

from playground.gitlab.http import Call, Many, Reply, json_response


async def answer(call: Call, result: Any) -> web.StreamResponse:
    """Turns what a handler returned into GitLab's answer."""
    if isinstance(result, web.StreamResponse):
        return result
    if isinstance(result, (list, Many)):
        return await page(call, result)
    if not isinstance(result, Reply):
        result = Reply(result, 201 if call.request.method == "POST" else 200)
    if isinstance(result.body, bytes) or result.body is None:
        body = result.body or b""
        kind = result.content_type if body else "text/plain"
        return web.Response(
            body=body, status=result.status, headers=result.headers, content_type=kind
        )
    return json_response(result.body, result.status, result.headers)


async def page(call: Call, result: list[Any] | Many) -> web.Response:
    items = result.items if isinstance(result, Many) else result
    size = min(max(call.number("per_page", 20) or 20, 1), 100)
    number = max(call.number("page", 1) or 1, 1)
    keyset = call.text("pagination") == "keyset"
    if keyset:
        number = int(call.text("cursor", "1")) if call.text("cursor", "1").isdigit() else 1
    shown: list[Any] = list(items[(number - 1) * size : number * size])
    if isinstance(result, Many):
        rendered = [result.view(item) for item in shown]
        shown = [await item if inspect.isawaitable(item) else item for item in rendered]
    pages = max(-(-len(items) // size), 1)

    def link(target: int, relation: str) -> str:
        query = [
            (key, value)
            for key, value in parse_qsl(call.request.rel_url.raw_query_string)
            if key not in ("page", "per_page", "cursor")
        ]
        query += [("cursor" if keyset else "page", str(target)), ("per_page", str(size))]
        path = call.request.raw_path.partition("?")[0]
        return f'<{call.forge.url}{path}?{urlencode(query)}>; rel="{relation}"'

    following = number + 1 if number < pages else None
    links = [link(following, "next")] if following else []
    headers = {"X-Per-Page": str(size)}
    if not keyset:
        previous = number - 1 if number > 1 else None
        links = [link(previous, "prev")] * bool(previous) + links
        links += [link(1, "first"), link(pages, "last")]
        headers |= {
            "X-Page": str(number),
            "X-Next-Page": str(following or ""),
            "X-Prev-Page": str(previous or ""),
            "X-Total": str(len(items)),
            "X-Total-Pages": str(pages),
        }
    if links:
        headers["Link"] = ", ".join(links)
    return json_response(shown, 200, headers)
