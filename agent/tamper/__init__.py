"""What a change does to that which checks it: tests, thresholds, linters, CI.

Pure: it reads the difference and the files before and after, and knows nothing of who made it.
"""

from __future__ import annotations

from agent.tamper.compare import is_read, weakenings

__all__ = ["is_read", "weakenings"]
