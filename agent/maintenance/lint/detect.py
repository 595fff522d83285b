"""Which linters a project has: those of its settings, else what its own configuration names."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, cast

from agent.maintenance.lint import parse
from agent.maintenance.lint.linters import LINTERS, Linter
from agent.maintenance.lint.parse import Parser

#: The beginning of a file of the project's base commit, None when there is none.
Read = Callable[[str], Awaitable[bytes | None]]

#: What starts a program of the project's, and is not wanted: its packages are on the path.
_STARTERS = (
    *(("uv", "run"), ("poetry", "run"), ("pipenv", "run"), ("bundle", "exec"), ("npx",)),
    *(("pnpm", "exec"), ("yarn", "run"), ("python3", "-m"), ("python", "-m")),
)


@dataclass(frozen=True, kw_only=True)
class Command:
    """A linter as it is called here."""

    name: str
    check: tuple[str, ...]
    fix: tuple[str, ...] | None
    read: Parser
    fine: frozenset[int]
    on_stderr: bool = False
    in_git: bool = False
    mends_always: bool = False


async def commands(settled: Sequence[str], paths: Sequence[str], read: Read) -> tuple[Command, ...]:
    """`settled`: command lines of the settings; empty: the project is looked at."""
    if settled:
        return tuple([await _settled(text, paths, read) for text in settled])
    found: dict[str, Command] = {}
    for linter in LINTERS:
        if linter.name not in found and await _has(linter, paths, read):
            found[linter.name] = _command(linter, ())
    return tuple(found.values())


async def _settled(text: str, paths: Sequence[str], read: Read) -> Command:
    try:
        words = tuple(shlex.split(text)) or (text,)
    except ValueError:
        words = (text,)  # no program has that name, which is what will be told
    for starter in _STARTERS:
        if words[: len(starter)] == starter and len(words) > len(starter):
            words = words[len(starter) :]
            break
    known = [each for each in LINTERS if words[: len(each.words)] == each.words]
    for linter in known:
        # of two versions of a tool the configuration tells which
        if linter is known[-1] or await _has(linter, paths, read):
            given = words[len(linter.words) :]
            return _command(linter, tuple(w for w in given if w not in (linter.fix or ())))
    return Command(name=text, check=words, fix=None, read=parse.lines, fine=frozenset({0, 1}))


def _command(linter: Linter, given: tuple[str, ...]) -> Command:
    named = [word for word in given if not word.startswith("-")]
    rest = (*given, *(() if named else linter.targets))
    return Command(
        name=linter.name,
        check=(*linter.words, *linter.check, *rest),
        fix=None if linter.fix is None else (*linter.words, *linter.fix, *rest),
        read=linter.read,
        fine=linter.fine,
        on_stderr=linter.on_stderr,
        in_git=linter.in_git,
        mends_always=linter.mends_always,
    )


async def _has(linter: Linter, paths: Sequence[str], read: Read) -> bool:
    for sign in linter.signs:
        pattern, _, needle = sign.partition(":")
        for path in (each for each in paths if "/" not in each and fnmatchcase(each, pattern)):
            if not needle or _names(path, await read(path) or b"", needle):
                return True
    return False


def _names(path: str, data: bytes, needle: str) -> bool:
    text = data.decode("utf-8", "replace")
    try:
        if path.endswith(".toml"):
            return _at(tomllib.loads(text), needle)
        if path.endswith(".json"):
            return _at(json.loads(text), needle)
    except ValueError:
        return False
    return bool(re.search(needle, text, re.MULTILINE))


def _at(data: Any, dotted: str) -> bool:
    for name in dotted.split("."):
        if not isinstance(data, dict) or name not in data:
            return False
        data = cast("dict[str, Any]", data)[name]
    return True
