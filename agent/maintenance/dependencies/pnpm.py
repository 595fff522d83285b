"""Projects with a pnpm-lock.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agent.maintenance.dependencies.answers import rows, table, values, words
from agent.maintenance.dependencies.ecosystem import Audit, Known, Outdated
from agent.maintenance.dependencies.found_only import FoundOnly, Row
from agent.maintenance.dependencies.shop import Shop
from agent.maintenance.dependencies.versions import Grammar
from agent.maintenance.night import Advisory


@dataclass(frozen=True)
class Pnpm(FoundOnly):
    name: str = "pnpm"
    grammar: Grammar = Grammar.NPM
    needs: tuple[str, ...] = ("package.json", "pnpm-lock.yaml")

    async def outdated(self, shop: Shop) -> Outdated:
        answer = await shop.run(["pnpm", "outdated", "--format", "json"], ok=(0, 1))
        return self.found(read(answer.out))

    async def audit(self, shop: Shop) -> Audit:
        answer = await self.asked(shop, ["pnpm", "audit", "--json"], ok=(0, 1))
        return answer if isinstance(answer, Audit) else self.known(read_audit(answer))


def read(text: str) -> Iterator[Row]:
    for report in values(text, "`pnpm outdated`"):
        for name, entry in report.items():
            facts = table(entry)
            current = str(facts.get("current") or facts.get("wanted"))
            for target in (facts.get("wanted"), facts.get("latest")):
                yield Row(package=name, current=current, target=str(target))


def read_audit(text: str) -> Iterator[Known]:
    for report in values(text, "The audit"):
        for advisory in table(report.get("advisories")).values():
            yield from known(table(advisory))


def known(advisory: dict[str, object]) -> Iterator[Known]:
    """Of the report that pnpm and yarn share."""
    fixed = re.search(r">=\s*([0-9][\w.+-]*)", str(advisory.get("patched_versions")))
    for finding in rows(advisory.get("findings")):
        yield Known(
            package=str(advisory.get("module_name")),
            version=str(finding.get("version")),
            advisories=(
                Advisory(
                    id=words(advisory.get("github_advisory_id") or advisory.get("id"), 60),
                    severity=words(advisory.get("severity"), 20),
                    summary=words(advisory.get("title")),
                    fixed_in=fixed[1] if fixed else "",
                ),
            ),
        )
