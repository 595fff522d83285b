"""What `doctor` says of branches and environments that journeyman.toml names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agent.errors import JourneymanError, NotFound
from agent.gate import EnvironmentRule, TargetRule
from agent.ports import Check, Protection
from agent.run import DEVELOPER, MAINTAINER
from bot.settings import ProjectEntry


class Reader(Protocol):
    async def protection(self, project: str, branch: str) -> Protection: ...

    async def has_environment(self, project: str, name: str) -> bool: ...

    async def access(self, project: str, user_id: int) -> int: ...


async def gate_checks(
    reader: Reader, project: ProjectEntry, *, merging: int | None = None
) -> Sequence[Check]:
    """`merging`: id of the user who merges and deploys."""
    settled = project.targets or project.environments
    return [
        *([await _merger(reader, project.path, merging)] if settled and merging else []),
        *[await _target(reader, project.path, rule) for rule in project.targets],
        *[await _environment(reader, project.path, rule) for rule in project.environments],
    ]


async def _merger(reader: Reader, path: str, user_id: int) -> Check:
    name = f"Merging in {path}"
    try:
        access = await reader.access(path, user_id)
    except JourneymanError as error:
        return Check(name=name, ok=False, detail=str(error))
    detail = f"the access level of the user who merges is {access}"
    if access >= DEVELOPER:
        return Check(name=name, ok=True, detail=detail)
    remedy = "Give the user of GITLAB_MERGE_TOKEN the role Developer in this project."
    return Check(name=name, ok=False, detail=detail, remedy=remedy)


async def _target(reader: Reader, path: str, rule: TargetRule) -> Check:
    name = f"Branch {rule.branch} of {path}"
    try:
        seen = await reader.protection(path, rule.branch)
    except NotFound:
        remedy = "Create it at GitLab, or correct its name under targets in journeyman.toml."
        return Check(name=name, ok=False, detail="there is no such branch", remedy=remedy)
    except JourneymanError as error:
        return Check(name=name, ok=False, detail=str(error))
    needed = rule.rule.approvals
    asked = f"needs {needed} approval{'s' * (needed != 1)}" if needed else "merges by itself"
    return Check(name=name, ok=True, detail=asked, remedy=_weaker(seen, rule))


def _weaker(seen: Protection, rule: TargetRule) -> str:
    """Where GitLab lets people go past the rule."""
    branch, strict = rule.branch, rule.rule.approvals > 0
    if not seen.protected:
        return f"GitLab does not protect {branch}: whoever may push, may change it past this rule."
    if seen.developers_push:
        return (
            f"At GitLab Developers may push to {branch} directly, past this rule: allow nobody to "
            "push under Settings > Repository > Protected branches."
        )
    if strict and seen.developers_merge and rule.rule.access >= MAINTAINER:
        return (
            f"At GitLab Developers may merge into {branch} themselves, past this rule: allow "
            "Maintainers only under Settings > Repository > Protected branches."
        )
    return ""


async def _environment(reader: Reader, path: str, rule: EnvironmentRule) -> Check:
    name = f"Environment {rule.name} of {path}"
    try:
        there = await reader.has_environment(path, rule.name)
    except JourneymanError as error:
        return Check(name=name, ok=False, detail=str(error))
    if there:
        return Check(name=name, ok=True, detail=f"deployed to by {', '.join(rule.jobs)}")
    remedy = "It appears with its first deployment. Before that, check the name in .gitlab-ci.yml."
    return Check(name=name, ok=False, detail="GitLab has no such environment", remedy=remedy)
