"""Gradle projects are only named: Gradle answers nothing without running the build's plugins."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from agent.maintenance.dependencies.ecosystem import Audit, Outdated
from agent.maintenance.dependencies.found_only import FoundOnly
from agent.maintenance.dependencies.shop import Shop
from agent.maintenance.dependencies.versions import Grammar


@dataclass(frozen=True)
class Gradle(FoundOnly):
    name: str = "gradle"
    grammar: Grammar = Grammar.MAVEN
    needs: tuple[str, ...] = ("build.gradle",)

    def claims(self, paths: Collection[str]) -> Sequence[str]:
        return [path for path in ("build.gradle", "build.gradle.kts") if path in paths]

    async def outdated(self, shop: Shop) -> Outdated:
        why = "it would run the plugins of the build while there is a network"
        return Outdated(not_checked=(f"Updates of gradle: not checked: {why}.",))

    async def audit(self, shop: Shop) -> Audit:
        return self.unchecked("Gradle has no audit of its own.")
