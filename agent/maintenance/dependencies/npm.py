"""Projects with a package-lock.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.errors import ToolFailed, Unavailable
from agent.maintenance.dependencies.ecosystem import Audit
from agent.maintenance.dependencies.javascript import SECTIONS, advisories, locked, read_object
from agent.maintenance.dependencies.node import Node
from agent.maintenance.dependencies.npm_registry import NPM
from agent.maintenance.dependencies.shop import Shop


@dataclass(frozen=True)
class Npm(Node):
    name: str = "npm"
    lock: str = "package-lock.json"

    async def ready(self, shop: Shop) -> None:
        pass  # npm is what the others are fetched with

    def pins(self, shop: Shop) -> Mapping[str, str]:
        return locked(read_object(self.lock, shop.text(self.lock)))

    async def audit(self, shop: Shop) -> Audit:
        pins = self.pins(shop)
        argv = [NPM, "audit", "--json", "--package-lock-only"]
        try:
            answer = await shop.run(argv, env={"npm_config_audit": "true"}, ok=(0, 1))
            return Audit(known=advisories(answer.out, pins))
        except (ToolFailed, Unavailable):
            why = "the registry gives no audit report"
            return Audit(not_checked=f"Vulnerabilities of npm packages: not checked: {why}.")

    async def widen(self, shop: Shop, section: str, prefix: str, specs: Sequence[str]) -> None:
        exact = f"--save-prefix={prefix}" if prefix else "--save-exact"
        await _change(shop, "install", [SECTIONS[section], exact], specs)

    async def move(self, shop: Shop, names: Sequence[str]) -> None:
        await _change(shop, "update", ["--no-save"], names)


async def _change(
    shop: Shop, command: str, options: Sequence[str], packages: Sequence[str]
) -> None:
    argv = [NPM, command, "--package-lock-only", "--ignore-scripts", "--engine-strict"]
    await shop.run([*argv, *options, "--", *packages])
