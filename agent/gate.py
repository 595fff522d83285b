"""What stands before a branch or an environment for one commit, and who may say yes to it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal, NewType
from zoneinfo import ZoneInfo

from agent.pipeline import Violation
from agent.policy import Policy
from agent.run import MAINTAINER, CommitSha, Digest, Person

GateId = NewType("GateId", str)  #: 32 hexadecimal digits, guessed by nobody

_WEEK = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class Window:
    """Every week, from one minute of the week (0: Monday 00:00) to another, by a zone's clock.
    A time that a clock skips or shows twice is read so that the window is the longer one."""

    start: int
    end: int
    zone: str = "UTC"

    def until(self, at: datetime) -> datetime | None:
        """When it is over, if it covers this moment."""
        zone = ZoneInfo(self.zone)
        local = at.astimezone(zone).replace(tzinfo=None)
        monday = local.replace(hour=0, minute=0, second=0, microsecond=0)
        monday -= timedelta(days=local.weekday())
        length = timedelta(minutes=(self.end - self.start) % (7 * 24 * 60))
        for week in (monday, monday - _WEEK):  # it may have begun last week
            begun = week + timedelta(minutes=self.start)
            ends = max(_moments(begun + length, zone))
            if min(_moments(begun, zone)) <= at < ends:
                return ends.astimezone(zone)
        return None


def _moments(wall: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Both readings of what a clock shows. Compared in UTC: two times of one zone would be
    compared by what the clock shows."""
    first, second = (wall.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    return first.astimezone(UTC), second.astimezone(UTC)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Who decides. With `users` or `groups` only these may, else whoever has the access level."""

    approvals: int = 1  #: 0: nobody is asked
    access: int = MAINTAINER
    users: tuple[int, ...] = ()  #: ids at GitLab
    groups: tuple[str, ...] = ()  #: full paths at GitLab
    self_approval: bool = False  #: who asked for, instructed or committed the change may decide
    expires: float = 86_400.0  #: seconds
    freezes: tuple[Window, ...] = ()

    def frozen_until(self, at: datetime) -> datetime | None:
        ends = [end for window in self.freezes if (end := window.until(at))]
        return max(ends, default=None, key=datetime.timestamp)


@dataclass(frozen=True, kw_only=True)
class TargetRule:
    """Of one branch. `limits` are those of a change that merges itself; beyond them people are
    asked, by the rule that a project has when it says nothing more: one maintainer."""

    branch: str
    rule: Rule = field(default_factory=Rule)
    limits: Policy = field(default_factory=Policy)
    promote: str = ""  #: the branch that a button offers to bring it to afterwards
    deploys: tuple[str, ...] = ()  #: environments that its pipeline deploys to by itself


@dataclass(frozen=True, kw_only=True)
class EnvironmentRule:
    name: str
    jobs: tuple[str, ...]  #: manual jobs that deploy to it, and that nothing else may start
    rule: Rule = field(default_factory=Rule)


def version(*rules: TargetRule | EnvironmentRule | Policy | Rule) -> Digest:
    """Changes whenever what has been settled does."""
    text = json.dumps([asdict(each) for each in rules], sort_keys=True)
    return Digest(hashlib.sha256(text.encode()).hexdigest())


class Action(StrEnum):
    MERGE = "merge"
    DEPLOY = "deploy"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of the change, none of it in the model's words."""

    files: int
    added: int
    removed: int
    tests: str = ""  #: "212 passed, 0 failed"
    pipeline: int = 0
    pipeline_url: str = ""
    outside: tuple[str, ...] = ()  #: what other systems have checked, by name
    protected: tuple[str, ...] = ()  #: paths that deserve a second look: CI, lock files, …
    weakened: tuple[Violation, ...] = ()  #: of its own checks, accepted by a person
    gitlab: tuple[str, ...] = ()  #: GitLab's own rules, a sentence each
    deploys: tuple[str, ...] = ()  #: environments that follow by themselves
    authors: tuple[str, ...] = ()  #: of the commits, where they are not the run's own
    money: float = 0.0  #: US dollars that the run has cost
    why: str = ""  #: why people are asked where the change could have merged itself


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Bound to all that was shown: a yes to it is a yes to nothing else."""

    id: GateId
    action: Action
    delivery: int  #: number of the delivery within its run
    project: str
    project_id: int
    iid: int  #: of the merge request
    url: str
    title: str
    commit: CommitSha  #: head of the merge request; of a deployment: the commit that is deployed
    diff: Digest  #: SHA-256 of the difference as GitLab shows it
    source: str
    target: str
    environment: str = ""
    job: int = 0  #: that deploys
    rule: Rule
    policy: Digest  #: version of what was settled when it was opened
    expires_at: datetime
    facts: Facts
    asks: tuple[Person, ...] = ()  #: some who may decide, as far as they are known in the chat

    @property
    def subject(self) -> str:
        """What it stands before, for people."""
        return self.environment or self.target


Outcome = Literal["approved", "rejected", "expired", "superseded", "cancelled"]
Deed = Literal["approve", "reject"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a button was pressed."""

    team: str
    channel: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Click:
    """What somebody wants of a gate, and where they said so."""

    gate: GateId
    deed: Deed
    by: Person
    place: Place
    reason: str = ""  #: of a rejection
    revise: bool = False  #: of a rejection: go on with the reason as an instruction
    message: str = ""  #: by which it is the same one again
