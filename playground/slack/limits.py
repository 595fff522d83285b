"""How often Slack lets an app call."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Limits:
    """Each key has a bucket of calls that fills up again at a steady rate. Posting is limited by
    channel, about one message a second with some patience for a burst; everything else by method
    and minute."""

    clock: Callable[[], float]
    enabled: bool = True
    posts_per_second: float = 1.0
    post_burst: int = 5
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])

    def take(self, method: str, per_minute: int, channel: str) -> int:
        """Count a call; 0, or the seconds after which to try again."""
        if not self.enabled:
            return 0
        if method == "chat.postMessage":
            return self._take(f"post:{channel}", self.posts_per_second, self.post_burst)
        return self._take(method, per_minute / 60, per_minute) if per_minute else 0

    def _take(self, key: str, per_second: float, size: int) -> int:
        now = self.clock()
        left, since = self._buckets.get(key, (float(size), now))
        left = min(float(size), left + (now - since) * per_second)
        if left >= 1:
            self._buckets[key] = (left - 1, now)
            return 0
        self._buckets[key] = (left, now)
        return max(1, math.ceil((1 - left) / per_second))
