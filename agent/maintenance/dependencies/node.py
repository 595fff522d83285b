"""What npm, pnpm and Yarn have in common: package.json, the registry, one lock file beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.errors import ToolFailed, Unavailable
from agent.maintenance.dependencies import npm_registry
from agent.maintenance.dependencies.ecosystem import Audit, Outdated
from agent.maintenance.dependencies.javascript import Declared, declared, read_object
from agent.maintenance.dependencies.shop import Shop
from agent.maintenance.dependencies.versions import level
from agent.maintenance.night import Update


@dataclass(frozen=True)
class Node(ABC):
    """`settings` are shown to the tool if they are there."""

    name: str
    lock: str
    settings: tuple[str, ...] = ()
    testable: bool = True

    @abstractmethod
    def pins(self, shop: Shop) -> Mapping[str, str]:
        """Name -> version of what package.json declares, as locked now."""

    @abstractmethod
    async def widen(self, shop: Shop, section: str, prefix: str, specs: Sequence[str]) -> None:
        """`specs` are `name@version`; package.json is to ask for them with that prefix."""

    @abstractmethod
    async def move(self, shop: Shop, names: Sequence[str]) -> None:
        """To the newest in the declared ranges, which stay."""

    @abstractmethod
    async def audit(self, shop: Shop) -> Audit: ...

    @abstractmethod
    async def ready(self, shop: Shop) -> None:
        """Raises `ToolFailed` for a project that this does not work on, or without the tool."""

    def claims(self, paths: Collection[str]) -> Sequence[str]:
        wanted = ("package.json", self.lock)
        if not set(wanted) <= set(paths):
            return ()
        return [*wanted, *(path for path in self.settings if path in paths)]

    async def outdated(self, shop: Shop) -> Outdated:
        package = given(shop)
        asked, odd = declared(package)
        if package.get("workspaces"):
            raise ToolFailed(f"{self.name}'s workspaces are not looked at yet.")
        await self.ready(shop)
        pins = self.pins(shop)
        found = await npm_registry.behind(shop, {each.name: each.range for each in asked})
        known = {each.name: each for each in asked if each.name in pins}
        if absent := sorted({each.name for each in asked} - pins.keys()):
            named = ", ".join(absent[:8])
            odd.append(f"{named}: not checked: {self.lock} does not say which version it is.")
        if silent := sorted(known.keys() - found.keys()):
            if not found:
                raise Unavailable("The registry's answers name no version of any package.")
            named = ", ".join(silent[:8])
            odd.append(f"{named}: not checked: the registry's answer names no version of it.")
        ahead = [
            name
            for name, (wanted, latest) in found.items()
            if name in known and level(pins[name], latest) == "major" and pins[name] == wanted
        ]
        within = await npm_registry.within(shop, {name: pins[name] for name in ahead})
        pairs: dict[tuple[str, str], None] = {}
        for name, (wanted, latest) in found.items():
            for target in (wanted, within.get(name, wanted), latest):
                if name in known and level(pins[name], target) == "major" and target != latest:
                    continue
                pairs[name, target] = None
        updates = [
            self._update(known[name], pins[name], target)
            for name, target in npm_registry.furthest(pairs, pins)
            if name in known
        ]
        return await npm_registry.fitting(shop, package, updates, odd)

    def _update(self, asked: Declared, current: str, target: str) -> Update:
        return Update(
            ecosystem=self.name,
            package=asked.name,
            current=current,
            target=target,
            level=level(current, target) or "patch",
            direct=True,
            manifest="package.json",
        )

    async def apply(self, shop: Shop, updates: Sequence[Update]) -> None:
        asked = {each.name: each for each in declared(given(shop))[0]}
        batches: dict[tuple[str, str], list[str]] = {}
        in_range: list[str] = []
        for update in updates:
            line = asked.get(update.package)
            if line is None or line.prefix is None:
                in_range.append(update.package)
            else:
                spec = f"{update.package}@{update.target}"
                batches.setdefault((line.section, line.prefix), []).append(spec)
        for (section, prefix), specs in sorted(batches.items()):
            await self.widen(shop, section, prefix, specs)
        if in_range:
            await self.move(shop, in_range)
        pins = self.pins(shop)
        for update in updates:
            if pins.get(update.package) != update.target:
                stays = pins.get(update.package, "away")
                raise ToolFailed(
                    f"{update.package} {update.target} does not fit the ranges in package.json;"
                    f" {self.name} would leave it at {stays}."
                )


def given(shop: Shop, data: bytes | None = None) -> dict[str, Any]:
    """package.json as it is at the base, or as `data` has it."""
    text = (shop.given["package.json"] if data is None else data).decode("utf-8", "replace")
    return read_object("package.json", text)


def prefixed(prefix: str, specs: Sequence[str]) -> list[str]:
    """For tools that take the range itself: `name@^1.2.3`."""
    return [f"{name}@{prefix}{version}" for name, _, version in (s.rpartition("@") for s in specs)]
