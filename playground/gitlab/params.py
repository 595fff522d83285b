"""Parameters as Rails reads them, from query and body."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from playground.gitlab.errors import ApiError


def truth(value: Any, default: bool = False) -> bool:
    if value is None or value == "":
        return default
    return value if isinstance(value, bool) else str(value).lower() in ("true", "1", "t", "on")


def nest(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Rails' naming of nested parameters: `a[]`, `a[b]`, `a[][b]`."""
    result: dict[str, Any] = {}
    for name, value in pairs:
        head, *rest = re.findall(r"^[^\[]+|\[[^\]]*\]", name) or [name]
        keys = [part[1:-1] for part in rest]
        if not keys:
            result[head] = value
        elif keys == [""]:
            result.setdefault(head, []).append(value)
        elif keys[0] == "":
            rows = result.setdefault(head, [])
            if not rows or keys[1] in rows[-1]:
                rows.append({})
            rows[-1][keys[1]] = value
        else:
            place = result.setdefault(head, {})
            for key in keys[:-1]:
                place = place.setdefault(key, {})
            place[keys[-1]] = value
    return result


async def parameters(request: web.Request) -> dict[str, Any]:
    query = request.rel_url.raw_query_string
    params = nest(parse_qsl(query, keep_blank_values=True))
    kind = request.content_type
    if not request.can_read_body:
        return params
    if kind == "multipart/form-data":
        form = await request.post()
        return params | nest(list(form.items()))
    body = await request.read()
    if kind == "application/json" and body:
        try:
            sent = json.loads(body)
        except ValueError:
            raise ApiError(400, {"error": "400 Bad request - malformed JSON"}) from None
        return params | sent if isinstance(sent, dict) else params
    if kind == "application/x-www-form-urlencoded":
        return params | nest(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    return params
