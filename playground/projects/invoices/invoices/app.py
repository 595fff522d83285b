"""The WSGI application."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from invoices.http import Request, Response
from invoices.routes import ROUTES
from invoices.store import Store


class App:
    def __init__(self, store: Store) -> None:
        self._store = store

    def handle(self, request: Request) -> Response:
        for route in ROUTES:
            arguments = route.match(request.method, request.path)
            if arguments is not None:
                return route.handler(request, self._store, **arguments)
        return Response.error(404, f"there is nothing at {request.path}")

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
        request = Request(environ["REQUEST_METHOD"], environ.get("PATH_INFO") or "/", query)
        response = self.handle(request)
        headers = [("Content-Type", response.content_type), *response.headers.items()]
        start(f"{response.status} {HTTPStatus(response.status).phrase}", headers)
        return [response.body]
