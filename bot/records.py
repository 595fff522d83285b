"""Objects of JSON from outside, which may lack anything."""

from __future__ import annotations

from typing import Any, cast

Json = dict[str, Any]


def record(value: Any) -> Json:
    """What should be an object; anything else is an empty one."""
    return cast("Json", value) if isinstance(value, dict) else {}


def first(value: Any) -> Json:
    """The first object of what should be a list of them."""
    return record(cast("list[Any]", value)[0]) if isinstance(value, list) and value else {}
