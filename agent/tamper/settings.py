"""Lists in TOML and INI files that say what checkers leave out, and what they look for."""

from __future__ import annotations

import configparser
import posixpath
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

_LOOSENS = re.compile(
    r"(extend[-_]|lint\.)*(ignore|exclude|per[-_]file[-_]ignores|omit|exclude_(lines|also)|disable"
    r"|skips?|exclude_dirs|disable_error_code|ignore_errors|ignore_missing_imports|unfixable"
    r"|norecursedirs|follow_imports|report\w+|type[cC]heckingMode)"
)
_DEMANDS = re.compile(r"(extend[-_])*(select|enable|enable_error_code|testpaths|source)|strict")
_TABLES = re.compile(
    r"ruff|flake8|pylint|mypy|pyright|basedpyright|coverage|bandit|pytest|isort|tool:pytest|report"
    r"|run|pycodestyle|pydocstyle|MASTER|MESSAGES|clippy|lints|mutmut|vulture|interrogate|deptry"
)


@dataclass(frozen=True, kw_only=True)
class Key:
    name: str
    loosens: bool


def lists_of(path: str, text: str) -> Mapping[Key, frozenset[str]] | None:
    """None where the file is of another kind or cannot be read."""
    name = posixpath.basename(path).lower()
    if not name:
        return {}
    try:
        if name.endswith(".toml"):
            return dict(_named(tomllib.loads(text), "", known=name != "pyproject.toml"))
        if name.endswith((".ini", ".cfg", "rc")) or name == ".flake8":
            return dict(_sections(text))
    except (tomllib.TOMLDecodeError, configparser.Error, RecursionError):
        return None
    return None


def _named(
    table: Mapping[str, Any], prefix: str, *, known: bool
) -> Iterator[tuple[Key, frozenset[str]]]:
    for key, value in table.items():
        name = f"{prefix}{key}"
        ours = known or bool(_TABLES.fullmatch(key))
        loosens = bool(_LOOSENS.fullmatch(key))
        if ours and (loosens or _DEMANDS.fullmatch(key)):
            yield Key(name=name, loosens=loosens), frozenset(_values(value))
        elif isinstance(value, dict):
            yield from _named(cast("dict[str, Any]", value), f"{name}.", known=ours)
        elif isinstance(value, list):
            for number, each in enumerate(cast("list[Any]", value)):
                if isinstance(each, dict):
                    inner = cast("dict[str, Any]", each)
                    yield from _named(inner, f"{name}.{number}.", known=ours)


def _values(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            yield from (f"{key} = {each}" for each in _values(inner))
    elif isinstance(value, list):
        for each in cast("list[Any]", value):
            yield from _values(each)
    elif value is not False and value is not None:
        yield str(value)


def _sections(text: str) -> Iterator[tuple[Key, frozenset[str]]]:
    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    parser.read_string(text if text.lstrip().startswith(("[", "#", ";")) else f"[top]\n{text}")
    for section in parser.sections():
        if not any(_TABLES.search(part) for part in (section, section.lower())):
            continue
        for key, value in parser.items(section):
            loosens = bool(_LOOSENS.fullmatch(key))
            if loosens or _DEMANDS.fullmatch(key):
                parts = re.split(r"[\n,]|\s{2,}", value or "")
                words = {part.strip() for part in parts if part.strip()} - {"false", "False"}
                name = f"{section}.{key}"
                yield Key(name=name, loosens=loosens), frozenset(words)
