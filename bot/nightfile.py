"""When a project's nights are, and where they are told of, as journeyman.toml says it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, Field, StringConstraints
from pydantic_core import PydanticCustomError

from agent.project import Maintenance
from bot.gatefile import STRICT
from bot.schedule import fires

Channel = Annotated[str, StringConstraints(pattern=r"^[CG][A-Z0-9_]+$")]


def _cron(text: str) -> str:
    try:
        fires(text, "UTC")
    except ValueError as error:
        told = "five fields of cron are wanted: {problem}"
        raise PydanticCustomError("cron", told, {"problem": str(error)}) from error
    return text


def _zone(text: str) -> str:
    if text not in available_timezones():
        raise PydanticCustomError("zone", "a time zone has a name like Europe/Berlin")
    return text


def _time(text: str) -> str:
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
        raise PydanticCustomError("time", "a time of day looks like 07:30")
    return text


_Cron = Annotated[str, AfterValidator(_cron)]
_Time = Annotated[str, AfterValidator(_time)]
_Zone = Annotated[str, AfterValidator(_zone)]


class Nights(BaseModel):
    model_config = STRICT

    lint: list[Annotated[str, StringConstraints(min_length=1)]] | None = None
    lint_minutes: float | None = Field(default=None, gt=0, le=60)
    schedule: _Cron | None = None
    zone: _Zone | None = None
    tasks: list[Literal["lint", "dependencies", "tests"]] | None = None
    digest: Channel | None = None
    digest_at: _Time | None = None
    quiet_line: bool | None = None
    agent_money: float | None = Field(default=None, ge=0)
    weekly: Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "off"] | None = None

    def over(self, base: Maintenance) -> Maintenance:
        minutes = self.lint_minutes
        return replace(
            base,
            schedule=base.schedule if self.schedule is None else self.schedule,
            zone=self.zone or base.zone,
            tasks=base.tasks if self.tasks is None else tuple(self.tasks),
            digest=self.digest or base.digest,
            digest_at=self.digest_at or base.digest_at,
            quiet_line=base.quiet_line if self.quiet_line is None else self.quiet_line,
            weekly=base.weekly if self.weekly is None else self.weekly.removeprefix("off"),
            lint=base.lint if self.lint is None else tuple(self.lint),
            lint_seconds=minutes * 60 if minutes else base.lint_seconds,
            agent_money=base.agent_money if self.agent_money is None else self.agent_money,
        )
