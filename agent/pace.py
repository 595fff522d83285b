"""How often GitLab is asked for the pipeline of one run."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.ports import Clock
from agent.run import RunId

LEAST, MOST = 15.0, 60.0  #: seconds between two looks


@dataclass(kw_only=True)
class Pace:
    """When this process last asked. Hints come in swarms: they shorten the wait for the next
    look, but never below `least`."""

    clock: Clock
    least: float = LEAST
    _asked: dict[RunId, float] = field(default_factory=dict[RunId, float], init=False)

    def left(self, run: RunId) -> float:
        asked = self._asked.get(run)
        return 0.0 if asked is None else asked + self.least - self.clock.monotonic()

    def asks(self, run: RunId) -> None:
        self._asked[run] = self.clock.monotonic()

    def forget(self, run: RunId) -> None:
        self._asked.pop(run, None)

    def next(self, waited: float) -> float:
        """Seconds to the next look: the longer it takes, the less often."""
        return max(self.least, min(MOST, waited / 4))
