"""A freeze: nothing is begun, gone on with or changed at GitLab, in a project or everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from agent.run import Person, RunStatus

EVERYWHERE = ""  #: the scope that all projects are in

#: A freeze interrupts these; whatever waits for something outside stays where it is.
INTERRUPTED = frozenset({RunStatus.PLANNING, RunStatus.WORKING, RunStatus.TESTING})

OperatorDeed = Literal["freeze", "unfreeze", "stop_all"]


@dataclass(frozen=True, kw_only=True)
class Freeze:
    scope: str  #: path of a project, or `EVERYWHERE`
    by: Person
    reason: str = ""  #: in the words of who froze it: untrusted text
    at: datetime

    @property
    def sentence(self) -> str:
        return f"Frozen by @{self.by.name}{f': {self.reason}' if self.reason else '.'}"


@dataclass(frozen=True, kw_only=True)
class OperatorEvent:
    """What somebody did, or was not allowed to do, to a project or to everything."""

    deed: OperatorDeed
    scope: str
    by: Person
    reason: str = ""
    refused: str = ""  #: why it was not done, a sentence; empty when it was
