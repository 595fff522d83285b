"""Which nights are due, who works on them, and what they came to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from agent.maintenance.findings import Findings
from agent.maintenance.night import Task, TaskReport

ATTEMPTS = 3  #: of one night, when whoever works on it dies
FAILURES = 3  #: nights in a row after which a task is paused
PATIENCE = timedelta(hours=3)  #: with what a night needs from outside, from its first attempt on


@dataclass(frozen=True, kw_only=True)
class Schedule:
    project: str
    task: Task
    cron: str  #: five fields, by the clock of the zone
    zone: str


@dataclass(frozen=True, kw_only=True)
class Due:
    """A night to be worked on."""

    id: int
    project: str
    task: Task
    fire_at: datetime
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A night that is over, or that somebody works on (no report yet)."""

    id: int
    project: str
    task: Task
    fire_at: datetime
    ended_at: datetime | None
    report: TaskReport | None


#: The first moment after this one at which a schedule fires.
After = Callable[[Schedule, datetime], datetime]


class Diary(Protocol):
    """Times are those of the database's clock. Raises `StoreUnavailable`."""

    async def tick(self, schedules: Sequence[Schedule], after: After) -> int:
        """Writes down the nights that have come due: each once, however many processes tick, and
        of several that were missed only one. Gives their number. A schedule that is seen for the
        first time, or that was changed, fires at its next moment."""
        ...

    async def add(self, project: str, task: Task) -> int:
        """A night of now, out of turn; lifts a pause."""
        ...

    async def take(self, project: str, task: Task, owner: str, lease: timedelta) -> Due:
        """As `add`, for somebody who works on it at once."""
        ...

    async def claim(self, owner: str, lease: timedelta) -> Due | None:
        """The oldest one that nobody works on, or whose worker has let its lease run out."""
        ...

    async def renew(self, night: int, owner: str, lease: timedelta) -> bool:
        """False: it belongs to somebody else by now."""
        ...

    async def put_off(self, night: int, owner: str, pause: timedelta) -> bool:
        """Lets go of it for a while, as an attempt that does not count. False: its time is over,
        or it belongs to somebody else by now."""
        ...

    async def finish(
        self, night: int, owner: str, report: TaskReport, findings: Findings | None = None
    ) -> bool:
        """Together with what the next night is compared with. False: it belongs to somebody else
        by now, and nothing was stored."""
        ...

    async def entries(
        self, *, since: datetime, project: str | None = None, task: Task | None = None
    ) -> Sequence[Entry]:
        """Oldest first."""
        ...

    async def paused(self) -> Sequence[tuple[str, Task]]:
        """Tasks that failed three nights in a row and wait for a person."""
        ...
