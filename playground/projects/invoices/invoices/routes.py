"""Which path leads to which handler. The first match wins."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from invoices import handlers
from invoices.http import Response


@dataclass(frozen=True)
class Route:
    method: str
    path: str  #: `{name}` takes one segment
    handler: Callable[..., Response]

    def match(self, method: str, path: str) -> dict[str, str] | None:
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path)
        found = re.fullmatch(pattern, path) if method == self.method else None
        return found.groupdict() if found else None


ROUTES = (
    Route("GET", "/invoices", handlers.list_invoices),
    Route("GET", "/invoices/{number}", handlers.show_invoice),
    Route("GET", "/totals", handlers.totals),
    Route("GET", "/health", handlers.health),
)
