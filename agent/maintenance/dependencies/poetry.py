"""Projects with a poetry.lock: what is behind is asked of the index, poetry changes the lock."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

from agent.errors import ToolFailed
from agent.maintenance.dependencies import python_audit
from agent.maintenance.dependencies.ecosystem import Audit, Outdated
from agent.maintenance.dependencies.found_only import rows, table
from agent.maintenance.dependencies.lockfiles import read_toml
from agent.maintenance.dependencies.python_index import canonical, reach
from agent.maintenance.dependencies.shop import Shop
from agent.maintenance.dependencies.versions import level
from agent.maintenance.night import Update


@dataclass(frozen=True)
class Poetry:
    name: str = "poetry"
    testable: bool = True

    def claims(self, paths: Collection[str]) -> Sequence[str]:
        wanted = ("pyproject.toml", "poetry.lock")
        return wanted if set(wanted) <= set(paths) and "uv.lock" not in paths else ()

    async def outdated(self, shop: Shop) -> Outdated:
        pins, direct = _locked(shop), _direct(shop)
        found, odd = await reach(shop, {n: v for n, v in pins.items() if n in direct})
        if absent := sorted(direct - pins.keys()):
            told = "poetry.lock names no version of a registry"
            odd = (*odd, f"{', '.join(absent[:8])}: not checked: {told}.")
        updates = {
            (name, target): Update(
                ecosystem=self.name,
                package=name,
                current=pins[name],
                target=target,
                level=far,
                direct=True,
                manifest="pyproject.toml",
            )
            for name, reached in found.items()
            for target in (reached.within, reached.latest)
            if (far := level(pins[name], target)) is not None
        }
        return Outdated(updates=tuple(updates.values()), not_checked=odd)

    async def audit(self, shop: Shop) -> Audit:
        return await python_audit.audit(shop, _locked(shop))

    async def apply(self, shop: Shop, updates: Sequence[Update]) -> None:
        """poetry builds what has no wheel to learn its dependencies, which is code of packages."""
        for package in rows(_toml(shop, "poetry.lock").get("package")):
            files = [str(file.get("file")) for file in rows(package.get("files"))]
            if files and not any(file.endswith(".whl") for file in files):
                raise ToolFailed(
                    f"{package.get('name')} has no wheel, and poetry would run its code to lock it."
                )
        env = {"POETRY_VIRTUALENVS_CREATE": "false", "POETRY_CACHE_DIR": "/tmp/poetry"}
        specs = [f"{update.package}@^{update.target}" for update in updates]
        await shop.run(["poetry", "add", "--lock", "--no-interaction", "--", *specs], env=env)
        pins = _locked(shop)
        for update in updates:
            if pins.get(update.package) != update.target:
                raise ToolFailed(f"{update.package} {update.target} does not fit the others.")


def _locked(shop: Shop) -> dict[str, str]:
    return {
        canonical(str(package.get("name"))): str(package.get("version"))
        for package in rows(_toml(shop, "poetry.lock").get("package"))
        if table(package.get("source")).get("type", "legacy") == "legacy"
    }


def _direct(shop: Shop) -> set[str]:
    """Of the main group: poetry would move those of another one here."""
    data = _toml(shop, "pyproject.toml")
    own = table(table(table(data.get("tool")).get("poetry")).get("dependencies"))
    listed: Any = table(data.get("project")).get("dependencies")
    standard = cast("list[Any]", listed) if isinstance(listed, list) else []
    names = {canonical(name) for name, range_ in own.items() if isinstance(range_, str)}
    found = [re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", str(line)) for line in standard]
    return (names | {canonical(match[0]) for match in found if match}) - {"python"}


def _toml(shop: Shop, path: str) -> dict[str, Any]:
    return read_toml(path, shop.text(path))
