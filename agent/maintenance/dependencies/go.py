"""Go modules. Another major version is another module to Go, so none is found here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agent.maintenance.dependencies.answers import table, values
from agent.maintenance.dependencies.ecosystem import Audit, Outdated
from agent.maintenance.dependencies.found_only import FoundOnly, Row
from agent.maintenance.dependencies.shop import Shop
from agent.maintenance.dependencies.versions import Grammar

_ENV = {"GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOMODCACHE": "/tmp/go"}


@dataclass(frozen=True)
class Go(FoundOnly):
    name: str = "go"
    grammar: Grammar = Grammar.GO
    needs: tuple[str, ...] = ("go.mod",)
    more: tuple[str, ...] = ("go.sum",)

    async def outdated(self, shop: Shop) -> Outdated:
        answer = await shop.run(["go", "list", "-m", "-u", "-json", "all"], env=_ENV)
        return self.found(read(answer.out))

    async def audit(self, shop: Shop) -> Audit:
        return self.unchecked(
            "`govulncheck` reads the code itself, which is not shown where there is a network."
        )


def read(text: str) -> Iterator[Row]:
    for module in values(text, "`go list`"):
        update = table(module.get("Update"))
        if update and not module.get("Main") and not module.get("Replace"):
            yield Row(
                package=str(module.get("Path")),
                current=str(module.get("Version")),
                target=str(update.get("Version")),
                direct=not module.get("Indirect"),
            )
