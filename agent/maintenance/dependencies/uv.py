"""Projects with a uv.lock."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from agent.errors import ToolFailed
from agent.maintenance.dependencies import python_audit
from agent.maintenance.dependencies.answers import read_toml, rows, table
from agent.maintenance.dependencies.ecosystem import Audit, Outdated
from agent.maintenance.dependencies.python_index import (
    canonical,
    no_build,
    reach,
)
from agent.maintenance.dependencies.python_updates import Locked
from agent.maintenance.dependencies.shop import UV, Shop
from agent.maintenance.dependencies.versions import Grammar, is_name, is_version, level, next_major
from agent.maintenance.night import Update

_MOVED = re.compile(r"^Update (\S+) v(\S+) -> v(\S+)$", re.MULTILINE)
_ASKED = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?P<extras>\[[A-Za-z0-9,._ -]*\])?"
    r"(?P<range>[^;@]*)(?P<marker>;.*)?"
)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A line of pyproject.toml; `place` is where `uv add` puts it."""

    name: str
    extras: str
    range: str
    marker: str
    place: tuple[str, ...]


@dataclass(frozen=True)
class Uv:
    name: str = "uv"
    testable: bool = True

    def claims(self, paths: Collection[str]) -> Sequence[str]:
        return ("pyproject.toml", "uv.lock") if {"pyproject.toml", "uv.lock"} <= set(paths) else ()

    async def outdated(self, shop: Shop) -> Outdated:
        direct = {asked.name for asked in _asked(shop)}
        locked = Locked(
            ecosystem=self.name,
            pins=_locked(shop),
            direct=direct,
            own="pyproject.toml",
            lock="uv.lock",
        )
        found, odd = await reach(shop, locked.asked)
        updates = locked.updates(found, await self._indirect(shop))
        return Outdated(updates=updates, not_checked=(*odd, *locked.absent))

    async def audit(self, shop: Shop) -> Audit:
        return await python_audit.audit(shop, _locked(shop))

    async def apply(self, shop: Shop, updates: Sequence[Update]) -> None:
        asked = _asked(shop)
        for update in updates:
            for line in asked:
                outside = update.level == "major" or "==" in line.range
                if line.name == update.package and line.range.strip() and outside:
                    await self._add(shop, line, update)
        argv = [UV, "lock", *no_build(shop)]
        for update in updates:
            argv += ["--upgrade-package", f"{update.package}=={update.target}"]
        await shop.run(argv, env=shop.remote)
        pins = _locked(shop, now=True)
        for update in updates:
            if pins.get(update.package, update.target) != update.target:
                raise ToolFailed(
                    f"{update.package} {update.target} does not fit the other packages; it would"
                    f" stay at {pins[update.package]}."
                )

    async def _indirect(self, shop: Shop) -> list[tuple[str, str]]:
        """Where packages that others bring along could go within their major version."""
        argv = [UV, "lock", "--upgrade", "--dry-run", *no_build(shop)]
        answer = await shop.run(argv, env=shop.remote)
        return [
            (canonical(name), target)
            for name, current, target in _MOVED.findall(answer.err)
            if is_version(target) and level(current, target) in ("minor", "patch")
        ]

    async def _add(self, shop: Shop, line: _Asked, update: Update) -> None:
        if "==" in line.range:
            span = f"=={update.target}"
        elif "<" in line.range or "~=" in line.range:
            span = f">={update.target},<{next_major(update.target)}"
        else:
            span = f">={update.target}"
        requirement = f"{line.name}{line.extras}{span}{line.marker}"
        argv = [UV, "add", "--no-sync", "--raw", *no_build(shop), *line.place]
        argv += ["--upgrade-package", f"{update.package}=={update.target}", "--", requirement]
        await shop.run(argv, env=shop.remote)


def _locked(shop: Shop, *, now: bool = False) -> dict[str, str]:
    """Packages of the registry that are locked in one version; one of several is left alone."""
    text = shop.text("uv.lock") if now else shop.given["uv.lock"].decode("utf-8", "replace")
    found: dict[str, str] = {}
    twice: set[str] = set()
    for package in rows(read_toml("uv.lock", text).get("package")):
        name, version = package.get("name"), package.get("version")
        if "registry" not in table(package.get("source")):
            continue
        if isinstance(name, str) and isinstance(version, str) and is_name(name, Grammar.PYTHON):
            twice |= {name} & found.keys()
            found[name] = version
    return {name: version for name, version in found.items() if name not in twice}


def _asked(shop: Shop) -> list[_Asked]:
    data = read_toml("pyproject.toml", shop.given["pyproject.toml"].decode("utf-8", "replace"))
    project = table(data.get("project"))
    found = list(_lines(project.get("dependencies"), ()))
    extras = table(project.get("optional-dependencies"))
    groups = table(data.get("dependency-groups"))
    for option, named in (("--optional", extras), ("--group", groups)):
        for name, lines in named.items():
            if is_name(name, Grammar.PYTHON):
                found += _lines(lines, (option, name))
    return found


def _lines(value: Any, place: tuple[str, ...]) -> Iterator[_Asked]:
    for text in cast("list[Any]", value) if isinstance(value, list) else []:
        match = _ASKED.fullmatch(text.strip()) if isinstance(text, str) else None
        if match:
            yield _Asked(
                name=canonical(match["name"]),
                extras=match["extras"] or "",
                range=match["range"],
                marker=match["marker"] or "",
                place=place,
            )
