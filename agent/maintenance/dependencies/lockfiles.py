"""TOML of others, read with suspicion."""

from __future__ import annotations

import tomllib
from typing import Any

from agent.errors import ToolFailed


def read_toml(path: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ToolFailed(f"{path} cannot be read: {error}.") from error
