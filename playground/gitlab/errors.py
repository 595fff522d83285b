"""Answers other than success."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An answer other than success; a string becomes `{"message": …}`."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body if isinstance(body, dict) else {"message": body}


def not_found(what: str = "") -> ApiError:
    return ApiError(404, f"404 {what} Not Found" if what else "404 Not Found")
