"""Where a project's code imports a package, told by its text."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

from agent.errors import ToolFailed
from agent.files import WorkspaceFiles
from agent.maintenance.workshop import Night

_FILES = 4_000  #: that are read
_LARGEST = 512 * 2**10  #: bytes of one
_TOLD = 12
_PYTHON = frozenset({".py", ".pyi"})
_NODE = frozenset({".js", ".cjs", ".mjs", ".jsx", ".ts", ".cts", ".mts", ".tsx", ".vue", ".svelte"})


async def uses(night: Night, names: Collection[str], *, python: bool) -> tuple[str, ...]:
    """Paths at the base, a few. `names`: modules, or packages of Node."""
    fit = _PYTHON if python else _NODE
    paths = [path for path in night.paths if PurePosixPath(path).suffix in fit][:_FILES]
    if not names or not paths:
        return ()
    folder = night.sandbox.new_folder("uses")
    try:
        await night.vault.checkout(night.base, folder)
        pattern = _pattern(names, python=python)
        return await asyncio.to_thread(_search, WorkspaceFiles(folder), paths, pattern)
    finally:
        night.vault.forget(folder)
        await night.sandbox.remove(folder)


def _pattern(names: Collection[str], *, python: bool) -> re.Pattern[str]:
    named = "|".join(re.escape(name) for name in sorted(names))
    if python:
        first = r"(?:[\w., \t]{0,200},[ \t]{0,8})?"
        return re.compile(rf"^[ \t]*(?:from|import)[ \t]{{1,8}}{first}(?:{named})\b", re.MULTILINE)
    return re.compile(rf"""(?:from|import|require)\s?\(?\s?["'](?:{named})["'/]""")


def _search(
    files: WorkspaceFiles, paths: Sequence[str], pattern: re.Pattern[str]
) -> tuple[str, ...]:
    found: list[str] = []
    for path in paths:
        try:
            text = files.read(path, _LARGEST).decode("utf-8", "replace")
        except ToolFailed:
            continue  # a link, or no file: not what the program is made of
        if pattern.search(text):
            found.append(path)
            if len(found) == _TOLD:
                break
    return tuple(found)
