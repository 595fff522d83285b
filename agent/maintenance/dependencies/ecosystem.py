"""What each package manager has to be able to do for a night."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent.maintenance.dependencies.shop import Shop
from agent.maintenance.night import Advisory, LeftOut, Update


@dataclass(frozen=True, kw_only=True)
class Outdated:
    updates: tuple[Update, ...] = ()
    left_out: tuple[LeftOut, ...] = ()  #: known at once not to be possible
    not_checked: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Known:
    """A vulnerable version in use."""

    package: str
    version: str
    advisories: tuple[Advisory, ...]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """`not_checked`: why there is no answer; nothing known is then no good news."""

    known: tuple[Known, ...] = ()
    not_checked: str = ""


class Ecosystem(Protocol):
    """Methods that use the shop raise `ToolFailed` for what the project or the tool is to blame
    for, and `Unavailable` for a registry."""

    @property
    def name(self) -> str: ...

    @property
    def testable(self) -> bool:
        """Whether this machine installs its packages, so that an update can be tried."""
        ...

    def claims(self, paths: Collection[str]) -> Sequence[str]:
        """Its manifests and lock files among the project's; none: it is not used there."""
        ...

    async def outdated(self, shop: Shop) -> Outdated: ...

    async def audit(self, shop: Shop) -> Audit: ...

    async def apply(self, shop: Shop, updates: Sequence[Update]) -> None:
        """Changes manifests and lock files in the shop such that they name the targets."""
        ...


@dataclass(frozen=True, kw_only=True)
class Project:
    """An ecosystem's part of a project at the base."""

    ecosystem: Ecosystem
    manifests: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
