"""Ruby gems."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agent.maintenance.dependencies import found_only
from agent.maintenance.dependencies.answers import rows, table, values
from agent.maintenance.dependencies.ecosystem import Audit, Known, Outdated
from agent.maintenance.dependencies.found_only import FoundOnly, Row
from agent.maintenance.dependencies.shop import Shop
from agent.maintenance.dependencies.versions import Grammar

_LINE = re.compile(
    r"^(?P<name>\S+) \(newest (?P<target>[^\s,]+), installed (?P<current>[^\s,)]+)"
    r"(?P<asked>, requested [^)]*)?\)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Bundler(FoundOnly):
    name: str = "bundler"
    grammar: Grammar = Grammar.GEM
    needs: tuple[str, ...] = ("Gemfile", "Gemfile.lock")

    async def outdated(self, shop: Shop) -> Outdated:
        # the Gemfile is code of the project, not of a package; it sees nothing but itself here
        env = {"BUNDLE_FROZEN": "true", "BUNDLE_PLUGINS": "false", "BUNDLE_USER_HOME": "/tmp/b"}
        answer = await shop.run(["bundle", "outdated", "--parseable"], env=env, ok=(0, 1))
        return self.found(read(answer.out))

    async def audit(self, shop: Shop) -> Audit:
        argv = ["bundle-audit", "check", "--format", "json"]
        answer = await self.asked(shop, argv, ok=(0, 1))
        return answer if isinstance(answer, Audit) else self.known(read_audit(answer))


def read(text: str) -> Iterator[Row]:
    for line in _LINE.finditer(text):
        yield Row(
            package=line["name"],
            current=line["current"],
            target=line["target"],
            direct=line["asked"] is not None,
        )


def read_audit(text: str) -> Iterator[Known]:
    for report in values(text, "`bundle-audit`"):
        for each in rows(report.get("results")):
            gem, advisory = table(each.get("gem")), table(each.get("advisory"))
            if gem and advisory:
                patched = advisory.get("patched_versions") or [""]
                yield found_only.known(
                    gem.get("name"),
                    gem.get("version"),
                    id=advisory.get("id"),
                    severity=advisory.get("criticality"),
                    title=advisory.get("title"),
                    patched=str(patched[-1]),
                )
