"""Rust crates."""

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
    r"^\s*(?:Updating|Unchanged) (?P<name>\S+) v(?P<current>\S+)(?: -> v(?P<target>\S+))?"
    r"(?: \((?:available|latest): v(?P<latest>[^\s,)]+).*\))?$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Cargo(FoundOnly):
    name: str = "cargo"
    grammar: Grammar = Grammar.CARGO
    needs: tuple[str, ...] = ("Cargo.toml", "Cargo.lock")

    async def outdated(self, shop: Shop) -> Outdated:
        # cargo reads no manifest that has nothing to build
        script = 'mkdir -p /tmp/c/src && cp Cargo.* /tmp/c && cd /tmp/c && touch src/lib.rs && "$@"'
        update = ["cargo", "update", "--dry-run", "--verbose"]
        env = {"CARGO_HOME": "/tmp/cargo", "CARGO_TERM_COLOR": "never"}
        answer = await shop.run(["bash", "-c", script, "sh", *update], env=env)
        return self.found(read(answer.err))

    async def audit(self, shop: Shop) -> Audit:
        answer = await self.asked(shop, ["cargo", "audit", "--json"], ok=(0, 1))
        return answer if isinstance(answer, Audit) else self.known(read_audit(answer))


def read(text: str) -> Iterator[Row]:
    for line in _LINE.finditer(text):
        for target in (line["target"], line["latest"]):
            if target:
                yield Row(package=line["name"], current=line["current"], target=target)


def read_audit(text: str) -> Iterator[Known]:
    for report in values(text, "`cargo audit`"):
        for each in rows(table(report.get("vulnerabilities")).get("list")):
            advisory, package = table(each.get("advisory")), table(each.get("package"))
            patched = table(each.get("versions")).get("patched") or [""]
            yield found_only.known(
                package.get("name"),
                package.get("version"),
                id=advisory.get("id"),
                severity=advisory.get("severity"),
                title=advisory.get("title"),
                patched=str(patched[0]),
            )
