"""Projects with a poetry.lock: what is behind is asked of the index, poetry changes the rest."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from agent.errors import ToolFailed
from agent.maintenance.dependencies import python_audit
from agent.maintenance.dependencies.answers import read_toml, rows, table
from agent.maintenance.dependencies.ecosystem import Audit, Outdated
from agent.maintenance.dependencies.poetry_project import Asked, declared, program
from agent.maintenance.dependencies.python_index import canonical, reach
from agent.maintenance.dependencies.python_updates import Locked
from agent.maintenance.dependencies.shop import UV, Shop
from agent.maintenance.night import Update
from agent.package_sources import PACKAGE_CACHE

#: poetry would run the code of a package without a wheel to learn what that needs.
_RUN = """
import sys
import poetry.inspection.info as info
from poetry.console.application import main
def refuse(path):
    raise info.PackageInfoError(path, "It has no wheel, and its code is not run to lock it.")
assert info.get_pep517_metadata
info.get_pep517_metadata = refuse
sys.exit(main())
"""


@dataclass(frozen=True)
class Poetry:
    """Packages that others bring along are looked at by the audit only."""

    name: str = "poetry"
    testable: bool = True

    def claims(self, paths: Collection[str]) -> Sequence[str]:
        wanted = ("pyproject.toml", "poetry.lock")
        return wanted if set(wanted) <= set(paths) and "uv.lock" not in paths else ()

    async def outdated(self, shop: Shop) -> Outdated:
        direct = {asked.name for asked in declared(_given(shop))}
        await _poetry(shop, ["--version"], ())  # without it, nothing is worth asking
        locked = Locked(
            ecosystem=self.name,
            pins=_locked(shop),
            direct=direct,
            own="pyproject.toml",
            lock="poetry.lock",
        )
        found, odd = await reach(shop, locked.asked)
        return Outdated(updates=locked.updates(found), not_checked=(*odd, *locked.absent))

    async def audit(self, shop: Shop) -> Audit:
        return await python_audit.audit(shop, _locked(shop))

    async def apply(self, shop: Shop, updates: Sequence[Update]) -> None:
        """First what the ranges allow, then the ranges that have to be moved."""
        targets = {update.package: update.target for update in updates}
        near = sorted(update.package for update in updates if update.level != "major")
        if near:
            await _poetry(shop, ["update", "--lock"], near)
        pins = _locked(shop)
        places: dict[str, list[str]] = {}
        for asked in declared(_given(shop)):
            target = targets.get(asked.name)
            if target is None or pins.get(asked.name) == target:
                continue
            if not asked.plain:
                raise ToolFailed(
                    f"{asked.name} {target} needs another range, and pyproject.toml declares it"
                    " with more than a range; that is left to people."
                )
            places.setdefault(asked.group, []).append(_spec(asked, target))
        for group, specs in places.items():
            place = ["--group", group] if group else []
            await _poetry(shop, ["add", "--lock", *place], specs)
        pins = _locked(shop)
        for name, target in targets.items():
            if pins.get(name) != target:
                stays = pins.get(name, "away")
                raise ToolFailed(f"{name} {target} does not fit the others; it would be {stays}.")


async def _poetry(shop: Shop, command: Sequence[str], packages: Sequence[str]) -> None:
    """The one that wrote the lock file, asking this machine's index in place of its own."""
    if not shop.index:
        raise ToolFailed("poetry needs an index of Python packages, and this machine has none.")
    wanted = program(shop.given["poetry.lock"].decode("utf-8", "replace"))
    argv = [UV, "tool", "run", "--no-build", "--with", _MIRROR, "--from", wanted]
    argv += ["python", "-I", "-c", _RUN, *command, "--no-interaction", "--no-ansi"]
    env = {**_ENV, "POETRY_PYPI_MIRROR_URL": shop.index}
    await shop.run([*argv, *(("--", *packages) if packages else ())], env=env, called="poetry")


_MIRROR = "poetry-plugin-pypi-mirror"
_ENV = {
    "POETRY_VIRTUALENVS_CREATE": "false",
    "POETRY_CACHE_DIR": f"{PACKAGE_CACHE}/poetry",
    "POETRY_REQUESTS_TIMEOUT": "30",
}


def _spec(asked: Asked, target: str) -> str:
    return f"{asked.name}=={target}" if asked.exact else f"{asked.name}@^{target}"


def _locked(shop: Shop) -> dict[str, str]:
    """Packages of a registry that are locked in one version; one of several is left alone."""
    found: dict[str, str] = {}
    twice: set[str] = set()
    for package in rows(read_toml("poetry.lock", shop.text("poetry.lock")).get("package")):
        if table(package.get("source")).get("type", "legacy") == "legacy":
            name = canonical(str(package.get("name")))
            twice |= {name} & found.keys()
            found[name] = str(package.get("version"))
    return {name: version for name, version in found.items() if name not in twice}


def _given(shop: Shop) -> dict[str, Any]:
    text = shop.given["pyproject.toml"].decode("utf-8", "replace")
    return read_toml("pyproject.toml", text)
