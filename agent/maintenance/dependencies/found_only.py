"""Package managers whose packages this machine does not install: what is outdated is found and
told, and no update is tried."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from agent.errors import ToolFailed, Unavailable
from agent.maintenance.dependencies.answers import words
from agent.maintenance.dependencies.ecosystem import Audit, Known, Outdated
from agent.maintenance.dependencies.shop import Shop
from agent.maintenance.dependencies.versions import Grammar, is_name, is_version, level
from agent.maintenance.night import Advisory, Update


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of what a package manager says is behind."""

    package: str
    current: str
    target: str
    direct: bool = True


@dataclass(frozen=True)
class FoundOnly:
    """`needs` are the files that all have to be there, the first of them the manifest; `more` are
    shown to the tool if they are there."""

    name: str
    grammar: Grammar
    needs: tuple[str, ...]
    more: tuple[str, ...] = ()
    testable: bool = False

    def claims(self, paths: Collection[str]) -> Sequence[str]:
        if not set(self.needs) <= set(paths):
            return ()
        return [*self.needs, *(path for path in self.more if path in paths)]

    async def apply(self, shop: Shop, updates: Sequence[Update]) -> None:
        raise ToolFailed(f"Packages of {self.name} are not installed here, so nothing is changed.")

    def found(self, rows: Iterable[Row]) -> Outdated:
        updates: dict[tuple[str, str], Update] = {}
        odd: list[str] = []
        for row in rows:
            if not is_name(row.package, self.grammar) or not is_version(row.target):
                odd.append(f"{row.package[:60]!r} of {self.name} was not looked at: unusual name.")
            elif (far := level(row.current, row.target)) is not None:
                updates[row.package, row.target] = Update(
                    ecosystem=self.name,
                    package=row.package,
                    current=row.current,
                    target=row.target,
                    level=far,
                    direct=row.direct,
                    manifest=self.needs[0],
                )
        return Outdated(updates=tuple(updates.values()), not_checked=tuple(odd))

    async def asked(self, shop: Shop, argv: Sequence[str], *, ok: Sequence[int]) -> Audit | str:
        return await asked(shop, self.name, argv, ok=ok)

    def unchecked(self, why: str) -> Audit:
        return unchecked(self.name, why)

    def known(self, found: Iterable[Known]) -> Audit:
        return Audit(known=tuple(each for each in found if is_name(each.package, self.grammar)))


async def asked(shop: Shop, name: str, argv: Sequence[str], *, ok: Sequence[int]) -> Audit | str:
    """The answer of an audit tool, or why there is none."""
    try:
        return (await shop.run(argv, ok=ok)).out
    except (ToolFailed, Unavailable) as error:
        return unchecked(name, str(error))


def unchecked(name: str, why: str) -> Audit:
    return Audit(not_checked=f"Vulnerabilities of {name} packages: not checked: {why}")


def known(
    package: object, version: object, *, id: object, severity: object, title: object, patched: str
) -> Known:
    """Out of a report; `patched` names versions without the flaw, the first one counts."""
    fixed = re.search(r"\d[\w.+-]*", patched)
    advisory = Advisory(
        id=words(id, 60),
        severity=words(severity, 20),
        summary=words(title),
        fixed_in=fixed[0] if fixed else "",
    )
    return Known(package=str(package), version=str(version), advisories=(advisory,))
