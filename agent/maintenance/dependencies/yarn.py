"""Projects with a yarn.lock of Yarn 1; later ones have no command for what is outdated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from agent.maintenance.dependencies import pnpm
from agent.maintenance.dependencies.answers import table, values
from agent.maintenance.dependencies.ecosystem import Audit, Known, Outdated
from agent.maintenance.dependencies.found_only import FoundOnly, Row
from agent.maintenance.dependencies.shop import Shop
from agent.maintenance.dependencies.versions import Grammar


@dataclass(frozen=True)
class Yarn(FoundOnly):
    """Its settings are not shown to it: they may name a program to run in its place."""

    name: str = "yarn"
    grammar: Grammar = Grammar.NPM
    needs: tuple[str, ...] = ("package.json", "yarn.lock")

    async def outdated(self, shop: Shop) -> Outdated:
        if "__metadata:" in shop.text("yarn.lock"):
            why = "Yarn 2 and later have no command for it"
            return Outdated(not_checked=(f"Updates of yarn: not checked: {why}.",))
        answer = await shop.run(["yarn", "outdated", "--json"], ok=(0, 1))
        return self.found(read(answer.out))

    async def audit(self, shop: Shop) -> Audit:
        if "__metadata:" in shop.text("yarn.lock"):
            return self.unchecked("only Yarn 1 is asked.")
        argv = ["yarn", "audit", "--json"]
        answer = await self.asked(shop, argv, ok=range(32))  # it adds up severities
        return answer if isinstance(answer, Audit) else self.known(read_audit(answer))


def read(text: str) -> Iterator[Row]:
    for line in values(text, "`yarn outdated`"):
        data = table(line.get("data"))
        body: Any = data.get("body")
        if line.get("type") != "table" or not isinstance(body, list):
            continue
        for row in cast("list[list[object]]", body):
            name, current, wanted, latest = (str(cell) for cell in row[:4])
            for target in (wanted, latest):
                yield Row(package=name, current=current, target=target)


def read_audit(text: str) -> Iterator[Known]:
    for line in values(text, "`yarn audit`"):
        if line.get("type") == "auditAdvisory":
            yield from pnpm.known(table(table(line.get("data")).get("advisory")))
