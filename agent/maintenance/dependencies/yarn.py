"""Projects with a yarn.lock of Yarn 1. Later ones are not looked at: they run programs that lie in
the project."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agent import node_tools
from agent.errors import ToolFailed
from agent.maintenance.dependencies import found_only, pnpm
from agent.maintenance.dependencies.answers import table, values
from agent.maintenance.dependencies.ecosystem import Audit, Known, Outdated
from agent.maintenance.dependencies.javascript import declared
from agent.maintenance.dependencies.node import Node, given, prefixed
from agent.maintenance.dependencies.shop import NIGHT, Shop
from agent.maintenance.dependencies.versions import is_version

_ENTRY = re.compile(r'^(?=\S)(?!#)(.+):\n  version "([^"\n]+)"$', re.MULTILINE)


@dataclass(frozen=True)
class Yarn(Node):
    """Its settings are not shown to it: they may name a program to run in its place."""

    name: str = "yarn"
    lock: str = "yarn.lock"

    async def outdated(self, shop: Shop) -> Outdated:
        if _later(shop):
            why = "only Yarn 1 is run here"
            return Outdated(not_checked=(f"Updates of yarn: not checked: {why}.",))
        return await super().outdated(shop)

    async def ready(self, shop: Shop) -> None:
        await shop.run(node_tools.fetched(node_tools.YARN, "--version"), called="yarn")

    def pins(self, shop: Shop) -> Mapping[str, str]:
        versions = locked(shop.text(self.lock))
        package = shop.text("package.json").encode()
        asked = declared(given(shop, package))[0]
        pinned = {each.name: versions.get(f"{each.name}@{each.range}") for each in asked}
        return {name: version for name, version in pinned.items() if version is not None}

    async def audit(self, shop: Shop) -> Audit:
        if _later(shop):
            return found_only.unchecked(self.name, "only Yarn 1 is asked.")
        argv = node_tools.fetched(node_tools.YARN, "audit", "--json")
        answer = await found_only.asked(shop, self.name, argv, ok=range(32))  # sums severities
        return answer if isinstance(answer, Audit) else pnpm.known_of(read_audit(answer))

    async def widen(self, shop: Shop, section: str, prefix: str, specs: Sequence[str]) -> None:
        await _upgrade(shop, prefixed(prefix, specs))

    async def move(self, shop: Shop, names: Sequence[str]) -> None:
        await _upgrade(shop, names)


async def _upgrade(shop: Shop, packages: Sequence[str]) -> None:
    """Yarn 1 locks only what it installs: that goes where nobody looks."""
    before = shop.text("yarn.lock")
    shop.files.write("yarn.lock", node_tools.localized(before, shop.npm_registry).encode())
    options = ("--ignore-scripts", "--non-interactive", "--modules-folder", f"{NIGHT}/modules")
    argv = node_tools.fetched(node_tools.YARN, "upgrade", *options, "--", *packages)
    await shop.run(argv, called="yarn")
    after = node_tools.delocalized(shop.text("yarn.lock"), before)
    shop.files.write("yarn.lock", after.encode())


def _later(shop: Shop) -> bool:
    return b"__metadata:" in shop.given["yarn.lock"]


def locked(text: str) -> dict[str, str]:
    """`name@range` -> version."""
    found: dict[str, str] = {}
    for names, version in _ENTRY.findall(text):
        if not is_version(version):
            raise ToolFailed("yarn.lock names something that is no version.")
        for name in names.split(", "):
            found[name.strip('"')] = version
    return found


def read_audit(text: str) -> Iterator[Known]:
    for line in values(text, "`yarn audit`"):
        if line.get("type") == "auditAdvisory":
            yield from pnpm.known(table(table(line.get("data")).get("advisory")))
