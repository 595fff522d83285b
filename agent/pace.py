"""How often GitLab is asked for the pipeline of one run."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.ports import Clock
from agent.run import RunId

LEAST, MOST = 15.0, 60.0  #: seconds between two looks
AHEAD = 1  #: looks that a hint may have before their time


@dataclass(kw_only=True)
class Pace:
    """When this process may ask. Hints come in swarms: they shorten the wait for the next look,
    but over any time there is one look in `least` seconds, and `AHEAD` more."""

    clock: Clock
    least: float = LEAST
    #: when the looks so far would be over, had each taken its time
    _used: dict[RunId, float] = field(default_factory=dict[RunId, float], init=False)

    def left(self, run: RunId) -> float:
        """Seconds until the next look may be had."""
        used = self._used.get(run)
        return 0.0 if used is None else used - AHEAD * self.least - self.clock.monotonic()

    def asks(self, run: RunId) -> None:
        now = self.clock.monotonic()
        self._used[run] = max(now, self._used.get(run, now)) + self.least

    def forget(self, run: RunId) -> None:
        self._used.pop(run, None)

    def next(self, waited: float) -> float:
        """Seconds to the next look: the longer it takes, the less often."""
        return max(self.least, min(MOST, waited / 4))
