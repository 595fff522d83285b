"""Maven projects, by the plugin that Maven's own users ask."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agent.errors import ToolFailed
from agent.maintenance.dependencies.ecosystem import Audit, Outdated
from agent.maintenance.dependencies.found_only import FoundOnly, Row
from agent.maintenance.dependencies.shop import Shop
from agent.maintenance.dependencies.versions import Grammar

_GOAL = "org.codehaus.mojo:versions-maven-plugin:2.18.0:display-dependency-updates"
_LINE = re.compile(
    r"^\[INFO\]\s+(?P<name>[^\s:]+:[^\s:]+) \.+(?:\s*\n\[INFO\])?\s+"
    r"(?P<current>\S+) -> (?P<target>\S+)\s*$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Maven(FoundOnly):
    name: str = "maven"
    grammar: Grammar = Grammar.MAVEN
    needs: tuple[str, ...] = ("pom.xml",)

    async def outdated(self, shop: Shop) -> Outdated:
        if "<extensions>" in shop.text("pom.xml"):
            raise ToolFailed(
                "pom.xml has build extensions, whose code Maven would run with the network."
            )
        argv = ["mvn", "-B", "-Dmaven.repo.local=/tmp/m2", _GOAL, "-DallowSnapshots=false"]
        answer = await shop.run(argv)
        return self.found(read(answer.out))

    async def audit(self, shop: Shop) -> Audit:
        return self.unchecked("Maven has no audit of its own.")


def read(text: str) -> Iterator[Row]:
    for line in _LINE.finditer(text):
        yield Row(package=line["name"], current=line["current"], target=line["target"])
