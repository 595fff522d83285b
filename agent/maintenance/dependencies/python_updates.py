"""Updates of Python packages out of what is locked and how far each could go."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from agent.maintenance.dependencies.python_index import Reach
from agent.maintenance.dependencies.versions import level
from agent.maintenance.night import Update


@dataclass(frozen=True, kw_only=True)
class Locked:
    """`own` declares what is direct, `lock` holds the rest."""

    ecosystem: str
    pins: Mapping[str, str]
    direct: Collection[str]
    own: str
    lock: str

    @property
    def asked(self) -> dict[str, str]:
        """What the index is asked about."""
        return {name: version for name, version in self.pins.items() if name in self.direct}

    @property
    def absent(self) -> tuple[str, ...]:
        """A sentence on what is declared and not locked, if anything is."""
        missing = sorted(set(self.direct) - self.pins.keys())
        told = f"{self.lock} names no one version of a registry"
        return (f"{', '.join(missing[:8])}: not checked: {told}.",) if missing else ()

    def updates(
        self, found: Mapping[str, Reach], more: Iterable[tuple[str, str]] = ()
    ) -> tuple[Update, ...]:
        """`more`: where packages that others bring along could go."""
        targets = [(n, t) for n, reach in found.items() for t in (reach.within, reach.latest)]
        targets += [(n, t) for n, t in more if n not in self.direct]
        steps = {
            (name, target): Update(
                ecosystem=self.ecosystem,
                package=name,
                current=self.pins[name],
                target=target,
                level=far,
                direct=name in self.direct,
                manifest=self.own if name in self.direct else self.lock,
            )
            for name, target in targets
            if name in self.pins and (far := level(self.pins[name], target)) is not None
        }
        return tuple(steps.values())
