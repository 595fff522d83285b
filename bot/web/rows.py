"""Parts of the rows of a run's timeline."""

from __future__ import annotations

from dataclasses import dataclass

from agent.run import Digest


@dataclass(frozen=True, kw_only=True)
class Folded:
    """A body that is shown when it is asked for."""

    label: str
    digest: Digest
    diff: bool = False
