"""Asks the index of Python packages, by uv's resolver, how far each pin could go: yanked files,
prereleases and those for another Python are not answers to it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from agent.errors import ToolFailed
from agent.maintenance.dependencies.shop import UV, Shop
from agent.maintenance.dependencies.versions import (
    Grammar,
    is_name,
    is_version,
    level,
    next_major,
    read,
)

_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\#]+)", re.MULTILINE)
_LOWEST = re.compile(r">=\s*(\d+\.\d+)|~=\s*(\d+\.\d+)|==\s*(\d+\.\d+)")
_ASKED_TWICE = 40  #: questions that are split to find the names which have no answer


@dataclass(frozen=True, kw_only=True)
class Reach:
    """`within`: the newest of the same major version. Both may be the current one."""

    within: str
    latest: str


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def no_build(shop: Shop) -> list[str]:
    """What keeps uv from running code of packages, and from an index that nobody configured."""
    return ["--no-build", *(() if shop.indexed else ("--no-index",))]


def python_arguments(shop: Shop) -> list[str]:
    """The oldest Python that the project promises to run on; none: the one of this machine."""
    data = shop.given.get("pyproject.toml")
    if data is None:
        return []
    try:
        parsed = tomllib.loads(data.decode("utf-8", "replace"))
    except tomllib.TOMLDecodeError as error:
        raise ToolFailed(f"pyproject.toml cannot be read: {error}.") from error
    project: Any = parsed.get("project")
    text = cast("dict[str, Any]", project).get("requires-python") if project else None
    match = _LOWEST.search(text) if isinstance(text, str) else None
    return ["--python-version", next(part for part in match.groups() if part)] if match else []


async def reach(shop: Shop, pins: Mapping[str, str]) -> tuple[dict[str, Reach], tuple[str, ...]]:
    """For each pinned package, and sentences on those that the index gave no answer for."""
    fit: dict[str, str] = {}
    odd: list[str] = []
    for name, version in pins.items():
        if is_name(name, Grammar.PYTHON) and is_version(version) and "+" not in version:
            fit[name] = version
        else:
            odd.append(f"{name[:60]!r} was not looked at: its name or version is unusual.")
    latest, missing = await _newest(shop, {n: f"{n}>={v}" for n, v in fit.items()})
    ahead = {n: v for n, v in latest.items() if level(fit[n], v) == "major"}
    within, _ = await _newest(shop, {n: f"{n}>={fit[n]},<{next_major(fit[n])}" for n in ahead})
    found = {
        name: Reach(
            within=within.get(name, fit[name]) if name in ahead else version, latest=version
        )
        for name, version in latest.items()
    }
    if missing:
        named = ", ".join(sorted(missing)[:8])
        odd.append(f"The package index had no installable version of {named}: not checked.")
    return found, tuple(odd)


async def _newest(shop: Shop, wanted: Mapping[str, str]) -> tuple[dict[str, str], set[str]]:
    """By name; one question for all of them, split when a name among them has no answer."""
    found: dict[str, str] = {}
    missing: set[str] = set()
    todo: list[Sequence[str]] = [list(wanted)] if wanted else []
    asked = 0
    while todo:
        names = todo.pop()
        asked += 1
        try:
            found |= await resolve(shop, [wanted[name] for name in names])
        except ToolFailed:
            if len(names) == 1 or asked > _ASKED_TWICE:
                missing |= set(names)
            else:
                half = len(names) // 2
                todo += [names[:half], names[half:]]
    answered = {canonical(name): version for name, version in found.items()}
    result = {n: answered[canonical(n)] for n in wanted if canonical(n) in answered}
    return result, missing


async def resolve(shop: Shop, requirements: Sequence[str]) -> dict[str, str]:
    """The newest version for each requirement, dependencies left out."""
    question = shop.hand_in("question.in", "\n".join(requirements) + "\n")
    answer = await shop.run(
        [
            *(UV, "pip", "compile", "-q", "--no-deps", "--no-annotate", "--no-header"),
            *("--prerelease", "if-necessary-or-explicit", *no_build(shop)),
            *(*python_arguments(shop), "--", question),
        ]
    )
    return {
        name: version
        for name, version in _PINNED.findall(answer.out)
        if is_version(version) and read(version)
    }
