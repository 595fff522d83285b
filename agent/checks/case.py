"""What a check is made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from agent.delivery import GateState
from agent.events import RunEvent
from agent.freeze import Freeze
from agent.gate import Deed, Place
from agent.ports import ForgeReader, MergeRequest
from agent.project import ProjectSettings
from agent.run import Person
from agent.state import RunState


@dataclass(frozen=True, kw_only=True)
class Case:
    """All that a check may look at. `project` is what is settled now."""

    gate: GateState
    state: RunState
    events: Sequence[RunEvent]
    by: Person
    deed: Deed = "approve"
    reason: str = ""
    pressed: Place | None = None
    card: Place | None = None  #: where the request stands
    project: ProjectSettings | None
    frozen: Freeze | None
    request: MergeRequest | None = None  #: as it was read for this look; None: not read yet
    forge: ForgeReader
    now: datetime


@dataclass(frozen=True, kw_only=True)
class Refusal:
    check: str
    sentence: str
    unsure: bool = False  #: it could not be checked, and may be another time


Check = Callable[[Case], Awaitable[str | None]]  #: None, or why not: a whole sentence
