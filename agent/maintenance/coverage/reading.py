"""What coverage.py reports. The file comes out of a sandbox: hostile."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from agent.errors import ToolFailed

SIZE = 32 * 2**20
LINES = 1_000_000  #: of one file


@dataclass(frozen=True, kw_only=True)
class Run:
    """Which lines of a file ran, and which could have."""

    executed: frozenset[int]
    missing: frozenset[int]


def read(data: bytes, paths: Collection[str]) -> Mapping[str, Run]:
    """Of these files; one that no test imports is not in it. Raises `ToolFailed`."""
    try:
        files: Any = json.loads(data)["files"]
        if not isinstance(files, dict):
            raise TypeError
        return {
            path: Run(
                executed=_numbers(files[path]["executed_lines"]),
                missing=_numbers(files[path]["missing_lines"]),
            )
            for path in paths
            if path in files
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ToolFailed("coverage.py answered something that is no report of its own.") from error


def _numbers(values: Any) -> frozenset[int]:
    if not isinstance(values, list):
        raise TypeError
    numbers = cast("list[object]", values)
    if len(numbers) > LINES or any(type(each) is not int for each in numbers):
        raise TypeError
    return frozenset(cast("list[int]", numbers))
