"""What will be done, step by step, as it is shown to people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class StepStatus(StrEnum):
    """The same four words as Slack's task cards."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETE = "complete"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class PlanStep:
    title: str
    status: StepStatus = StepStatus.PENDING
    note: str = ""  #: short outcome, for example "3 files changed"


@dataclass(frozen=True, kw_only=True)
class Plan:
    steps: tuple[PlanStep, ...]
    files: tuple[str, ...] = ()  #: likely touched
    assumptions: tuple[str, ...] = ()

    @property
    def done(self) -> int:
        return sum(step.status is StepStatus.COMPLETE for step in self.steps)
