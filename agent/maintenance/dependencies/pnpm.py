"""Projects with a pnpm-lock.yaml; pnpm is fetched as the project wants it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from agent import node_tools
from agent.errors import ToolFailed
from agent.maintenance.dependencies import found_only
from agent.maintenance.dependencies.answers import rows, table, values
from agent.maintenance.dependencies.ecosystem import Audit, Known
from agent.maintenance.dependencies.javascript import SECTIONS
from agent.maintenance.dependencies.node import Node, prefixed
from agent.maintenance.dependencies.shop import Shop
from agent.maintenance.dependencies.versions import Grammar, is_name, is_version

_SETTINGS = "pnpm-workspace.yaml"
_LARGEST = 2**20  #: characters on what the project itself needs
_NESTED = 200  #: brackets in these: more of them take seconds to read


@dataclass(frozen=True)
class Pnpm(Node):
    name: str = "pnpm"
    lock: str = "pnpm-lock.yaml"
    settings: tuple[str, ...] = (_SETTINGS,)

    async def ready(self, shop: Shop) -> None:
        settings = shop.given.get(_SETTINGS, b"").decode("utf-8", "replace")
        if re.search(r"^\s*['\"]?packages['\"]?\s*:", settings, re.MULTILINE):
            raise ToolFailed("pnpm's workspaces are not looked at yet.")
        if "configDependencies" in settings:
            raise ToolFailed("The project asks for packages that pnpm runs itself; not done here.")
        await _pnpm(shop, ["--version"])

    def pins(self, shop: Shop) -> Mapping[str, str]:
        return locked(shop.text(self.lock))

    async def audit(self, shop: Shop) -> Audit:
        argv = _command(shop, ["audit", "--json"])
        answer = await found_only.asked(shop, self.name, argv, ok=(0, 1))
        return answer if isinstance(answer, Audit) else known_of(read_audit(answer))

    async def widen(self, shop: Shop, section: str, prefix: str, specs: Sequence[str]) -> None:
        options = ["--lockfile-only", *node_tools.PNPM_OPTIONS, SECTIONS[section]]
        options += [] if prefix else ["--save-exact"]
        await _pnpm(shop, ["add", *options, "--", *prefixed(prefix, specs)])

    async def move(self, shop: Shop, names: Sequence[str]) -> None:
        options = ["--lockfile-only", *node_tools.PNPM_OPTIONS, "--no-save"]
        await _pnpm(shop, ["update", *options, "--", *names])


async def _pnpm(shop: Shop, words: Sequence[str]) -> None:
    await shop.run(_command(shop, words), called="pnpm")


def _command(shop: Shop, words: Sequence[str]) -> list[str]:
    tool = node_tools.pnpm(shop.given["package.json"], shop.given["pnpm-lock.yaml"])
    if not tool:
        raise ToolFailed("pnpm-lock.yaml is of a format that no pnpm here reads.")
    return node_tools.fetched(tool, *words)


def locked(text: str) -> dict[str, str]:
    """Of the project itself, in any of pnpm's formats."""
    own = re.split(r"^packages:", text, maxsplit=1, flags=re.MULTILINE)[0]
    try:
        if len(own) > _LARGEST or own.count("[") + own.count("{") > _NESTED:
            raise ValueError("it is larger, or nested deeper, than any that pnpm writes")
        data = table(yaml.safe_load(own))  # not the quick loader: deep nesting ends the process
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ToolFailed(f"pnpm-lock.yaml cannot be read: {str(error)[:200]}.") from error
    project = table(table(data.get("importers")).get(".")) or data
    found: dict[str, str] = {}
    for section in SECTIONS:
        for name, entry in table(project.get(section)).items():
            told: Any = entry if isinstance(entry, str) else table(entry).get("version")
            version = re.split(r"[(_]", str(told), maxsplit=1)[0]
            if is_name(name, Grammar.NPM) and is_version(version):
                found[name] = version
    return found


def known_of(found: Iterator[Known]) -> Audit:
    return Audit(known=tuple(each for each in found if is_name(each.package, Grammar.NPM)))


def read_audit(text: str) -> Iterator[Known]:
    for report in values(text, "The audit"):
        for advisory in table(report.get("advisories")).values():
            yield from known(table(advisory))


def known(advisory: dict[str, object]) -> Iterator[Known]:
    """Of the report that pnpm and yarn share."""
    fixed = re.search(r">=\s*([0-9][\w.+-]*)", str(advisory.get("patched_versions")))
    for finding in rows(advisory.get("findings")):
        yield found_only.known(
            advisory.get("module_name"),
            finding.get("version"),
            id=advisory.get("github_advisory_id") or advisory.get("id"),
            severity=advisory.get("severity"),
            title=advisory.get("title"),
            patched=fixed[1] if fixed else "",
        )
