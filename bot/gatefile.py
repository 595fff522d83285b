"""The tables of journeyman.toml that say what may be merged and deployed, and who decides."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from agent.gate import EnvironmentRule, Rule, TargetRule, Window
from agent.policy import Policy
from agent.run import DEVELOPER, MAINTAINER

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)

#: As in .gitignore, without exceptions.
Pattern = Annotated[str, StringConstraints(pattern=r"^[^!\s].*")]

ACCESS = {"developer": DEVELOPER, "maintainer": MAINTAINER, "owner": 50}

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MOMENT = r"([A-Za-z]{3}) (\d{1,2}):(\d{2})"
_WINDOW = re.compile(rf"{_MOMENT} ?[-–] ?{_MOMENT}(?: (\S+))?")
_SPAN = re.compile(r"(\d+)([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400}
_LONGEST = 30 * 86_400


def window(text: str) -> Window:
    """Raises `ValueError` with the end of a sentence."""
    found = _WINDOW.fullmatch(text.strip())
    if found is None:
        raise ValueError('has to look like "Fri 16:00 - Mon 08:00 Europe/Berlin"')
    start, end, zone = _minute(*found.group(1, 2, 3)), _minute(*found.group(4, 5, 6)), found[7]
    if start == end:
        raise ValueError("has to end at another time than it begins at")
    try:
        ZoneInfo(zone or "UTC")
    except (ValueError, KeyError, OSError) as error:
        why = f"has an unknown time zone {zone}: give one like Europe/Berlin"
        raise ValueError(why) from error
    return Window(start=start, end=end, zone=zone or "UTC")


def _minute(day: str, hours: str, minutes: str) -> int:
    """Of the week."""
    if day.lower() not in _DAYS:
        raise ValueError(f"has an unknown day {day}: there are Mon, Tue, Wed, Thu, Fri, Sat, Sun")
    clock = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or clock > 24 * 60:
        raise ValueError(f"has no time of day in {hours}:{minutes}")
    return (_DAYS.index(day.lower()) * 24 * 60 + clock) % (7 * 24 * 60)


def span(text: str) -> float:
    """Seconds. Raises `ValueError` with the end of a sentence."""
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise ValueError('has to look like "24h", "90m" or "7d"')
    seconds = int(found[1]) * _SECONDS[found[2]]
    if not 60 <= seconds <= _LONGEST:
        raise ValueError("has to be between 1m and 30d")
    return float(seconds)


def _checked(read: Callable[[str], object]) -> AfterValidator:
    def check(text: str) -> str:
        try:
            read(text)
        except ValueError as error:
            raise PydanticCustomError("form", "it {why}", {"why": str(error)}) from error
        return text

    return AfterValidator(check)


class _Rule(BaseModel):
    model_config = STRICT

    approvals: int | None = Field(default=None, ge=0, le=20)
    access: Literal["developer", "maintainer", "owner"] | None = None
    users: list[Annotated[int, Field(gt=0)]] | None = None
    groups: list[Annotated[str, StringConstraints(pattern=r"^[\w.-]+(/[\w.-]+)*$")]] | None = None
    self_approval: bool | None = None
    expires: Annotated[str, _checked(span)] | None = None
    freeze: list[Annotated[str, _checked(window)]] | None = None

    @property
    def asked(self) -> int:
        return Rule.approvals if self.approvals is None else self.approvals

    def rule(self) -> Rule:
        return Rule(
            approvals=self.asked,
            access=ACCESS[self.access] if self.access else Rule.access,
            users=tuple(self.users or ()),
            groups=tuple(self.groups or ()),
            self_approval=bool(self.self_approval),
            expires=span(self.expires) if self.expires else Rule.expires,
            freezes=tuple(window(each) for each in self.freeze or ()),
        )

    def wrong(self) -> Iterator[str]:
        """What contradicts itself: key and rest of a sentence."""
        users, groups = self.users or (), self.groups or ()
        if self.asked == 0 and (users or groups):
            key = "users" if users else "groups"
            yield f"{key} names who decides, but approvals = 0 asks nobody: remove one of them."
        if users and not groups and self.asked > len(set(users)):
            yield (
                f"approvals is {self.asked}, but users names only {len(set(users))}: lower it or "
                "name more people."
            )


class Target(_Rule):
    """`[….targets.BRANCH]`"""

    max_files: int | None = Field(default=None, gt=0)
    max_lines: int | None = Field(default=None, gt=0)
    allow_paths: list[Pattern] | None = None
    deny_paths: list[Pattern] | None = None
    promote: str | None = None
    deploys: list[str] | None = None

    def target(self, branch: str, policy: Policy) -> TargetRule:
        """What the project denies, no rule of a branch allows."""
        allow = policy.allow_paths if self.allow_paths is None else tuple(self.allow_paths)
        deny = dict.fromkeys((*policy.deny_paths, *(self.deny_paths or ())))
        return TargetRule(
            branch=branch,
            rule=self.rule(),
            limits=Policy(
                allow_paths=allow,
                deny_paths=tuple(deny),
                max_files=self.max_files or policy.max_files,
                max_lines=self.max_lines or policy.max_lines,
                max_binary=policy.max_binary,
            ),
            promote=self.promote or "",
            deploys=tuple(self.deploys or ()),
        )

    def wrong(self) -> Iterator[str]:
        yield from super().wrong()
        limits = ("max_files", "max_lines", "allow_paths", "deny_paths")
        if self.asked and (named := [key for key in limits if getattr(self, key) is not None]):
            yield (
                f"{named[0]} limits what merges itself, but people are asked for everything here: "
                "remove it, or set approvals = 0."
            )


class Environment(_Rule):
    """`[….environments.NAME]`"""

    jobs: list[str] | None = None

    def environment(self, name: str) -> EnvironmentRule:
        return EnvironmentRule(name=name, jobs=tuple(self.jobs or ()), rule=self.rule())

    def wrong(self) -> Iterator[str]:
        yield from super().wrong()
        if not self.jobs:
            yield "jobs is missing: name the manual jobs that deploy to it."


@dataclass(frozen=True, kw_only=True)
class Gates:
    """The tables of one project, what `[defaults]` say under them."""

    targets: Mapping[str, Target]
    environments: Mapping[str, Environment]

    def over(self, base: Gates) -> Gates:
        return Gates(
            targets=_merged(self.targets, base.targets),
            environments=_merged(self.environments, base.environments),
        )

    def target_rules(self, policy: Policy) -> tuple[TargetRule, ...]:
        return tuple(table.target(name, policy) for name, table in self.targets.items())

    def environment_rules(self) -> tuple[EnvironmentRule, ...]:
        return tuple(table.environment(name) for name, table in self.environments.items())

    def wrong(self) -> Iterator[str]:
        """Sentences, each beginning with the key that is wrong."""
        for branch, table in self.targets.items():
            yield from (f"{_key('targets', branch)}.{told}" for told in table.wrong())
            if table.promote == branch:
                yield f"{_key('targets', branch)}.promote names the branch itself: name another."
            elif table.promote and table.promote not in self.targets:
                yield (
                    f"{_key('targets', branch)}.promote is {table.promote!r}, a branch without a "
                    f"rule: add a table {_key('targets', table.promote)}."
                )
        yield from self._wrong_environments()

    def _wrong_environments(self) -> Iterator[str]:
        owner: dict[str, str] = {}
        for name, table in self.environments.items():
            yield from (f"{_key('environments', name)}.{told}" for told in table.wrong())
            for job in table.jobs or ():
                if job in owner:
                    yield (
                        f"{_key('environments', name)}.jobs names {job!r}, which deploys to "
                        f"{owner[job]} already: keep it in one of them."
                    )
                owner[job] = name


_Table = TypeVar("_Table", Target, Environment)


def _merged(over: Mapping[str, _Table], base: Mapping[str, _Table]) -> Mapping[str, _Table]:
    names: Sequence[str] = tuple(dict.fromkeys((*base, *over)))
    return {
        name: base[name].model_copy(
            update={key: getattr(over[name], key) for key in over[name].model_fields_set}
        )
        if name in base and name in over
        else (over.get(name) or base[name])
        for name in names
    }


def _key(table: str, name: str) -> str:
    return f"{table}.{name}" if re.fullmatch(r"[\w-]+", name) else f'{table}."{name}"'
