"""Where the findings of a project's last night are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from agent.maintenance.night import Finding


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """Where a finding stands, in a way that survives moved lines: digests of normalised text."""

    line: str
    before: str  #: of the nearest line above that is not blank
    after: str


@dataclass(frozen=True, kw_only=True)
class Seen:
    finding: Finding
    anchor: Anchor


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What one night saw. `files`: for each path with findings, digests of its lines; `tools`:
    those that ever did their work, without which nothing can be called new."""

    seen: tuple[Seen, ...] = ()
    tools: frozenset[str] = frozenset()
    files: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])


class FindingStore(Protocol):
    async def last(self, project: str) -> Findings | None:
        """None: nothing was ever found out, so nothing can be called new."""
        ...

    async def keep(self, project: str, findings: Findings) -> None: ...


@dataclass(kw_only=True)
class Aside:
    """A `FindingStore` of a night that is not over: what it saw counts as the last night's only
    with its report, so that a night that is begun again compares with the one before."""

    store: FindingStore
    kept: Findings | None = None

    async def last(self, project: str) -> Findings | None:
        return await self.store.last(project)

    async def keep(self, project: str, findings: Findings) -> None:
        self.kept = findings
