"""TOML and JSON of others, read with suspicion."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any, cast

from agent.errors import ToolFailed


def read_toml(path: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ToolFailed(f"{path} cannot be read: {error}.") from error


def values(text: str, who: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that follow one another in an answer."""
    decoder, at = json.JSONDecoder(), 0
    while (at := len(text) - len(text[at:].lstrip())) < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise ToolFailed(f"{who} answered something that is no JSON.") from error
        if isinstance(value, dict):
            yield cast("dict[str, Any]", value)


def table(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def rows(value: Any) -> list[dict[str, Any]]:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]


def words(value: Any, limit: int = 300) -> str:
    """Text of an advisory, which others wrote, in one line."""
    return " ".join(str(value if value is not None else "").split())[:limit]
