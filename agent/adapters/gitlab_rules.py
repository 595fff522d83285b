"""What GitLab itself asks for before it merges or deploys, in sentences.

Not every GitLab has each of these rules, and not every token may read them: what cannot be read
has no sentence. GitLab keeps to its rules whether they are shown or not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from agent.adapters.gitlab_client import Get
from agent.adapters.gitlab_payloads import Json, record, records, text
from agent.errors import ForgeRejected
from agent.ports import ForgeRules, Protection

_PAGE = 100
_NOBODY = 0


async def of_merge(get: Get, project: str, iid: int, target: str) -> ForgeRules:
    protections = await _optional(get, f"{project}/protected_branches", per_page=_PAGE)
    if protections is None:
        shown = record(await _optional(get, _branch_path(project, target)) or {})
        known = (f"GitLab protects {target}.",) if shown.get("protected") else ()
    else:
        known = _branch(matching(records(protections), target), target)
    approvals = record(await _optional(get, f"{project}/merge_requests/{iid}/approvals") or {})
    settings = record(await _optional(get, project) or {})
    left = _count(approvals.get("approvals_left"))
    return ForgeRules(
        sentences=(
            *known,
            *_approvals(_count(approvals.get("approvals_required")), left),
            *_settings(settings),
        ),
        approvals_left=left,
    )


async def of_deploy(get: Get, project: str, environment: str) -> ForgeRules:
    path = f"{project}/protected_environments/{quote(environment, safe='')}"
    rule = record(await _optional(get, path) or {})
    sentences: list[str] = []
    if who := _who(rule.get("deploy_access_levels")):
        sentences.append(f"GitLab lets only {who} deploy to {environment}.")
    needed = _count(rule.get("required_approval_count")) + sum(
        _count(each.get("required_approvals")) for each in records(rule.get("approval_rules") or [])
    )
    if needed:
        sentences.append(
            f"GitLab asks for {_several(needed)} of its own before it deploys to {environment}."
        )
    return ForgeRules(sentences=tuple(sentences))


async def protection(get: Get, project: str, branch: str) -> Protection:
    """Raises `NotFound` where there is no such branch."""
    found = record(await get(_branch_path(project, branch)))
    protected = bool(found.get("protected"))
    return Protection(
        protected=protected,
        developers_push=not protected or bool(found.get("developers_can_push")),
        developers_merge=not protected or bool(found.get("developers_can_merge")),
    )


async def has_environment(get: Get, project: str, name: str) -> bool:
    found = await get(f"{project}/environments", name=name)
    return any(text(each, "name") == name for each in records(found))


def _branch_path(project: str, branch: str) -> str:
    return f"{project}/repository/branches/{quote(branch, safe='')}"


def matching(protections: Sequence[Json], branch: str) -> Sequence[Json]:
    """The protections that hold for a branch; in their names `*` stands for any text."""
    return [
        each
        for each in protections
        if re.fullmatch(re.escape(text(each, "name")).replace(r"\*", ".*"), branch)
    ]


async def _optional(get: Get, path: str, **query: str | int) -> Any:
    """None where GitLab has no such thing, or does not tell it to this token."""
    try:
        return await get(path, **query)
    except ForgeRejected as refusal:
        if refusal.status in (403, 404):
            return None
        raise


def _branch(protections: Sequence[Json], branch: str) -> Sequence[str]:
    levels = [g for each in protections for g in records(each.get("merge_access_levels") or [])]
    sentences: list[str] = []
    if protections:
        who = _who(levels)
        sentences.append(
            f"GitLab lets only {who} merge into {branch}."
            if who
            else f"GitLab lets nobody merge into {branch}."
        )
    if any(each.get("code_owner_approval_required") for each in protections):
        sentences.append("GitLab asks for the approval of code owners.")
    return sentences


def _approvals(required: int, left: int) -> Sequence[str]:
    if not required and not left:
        return ()
    state = f"{left} {'is' if left == 1 else 'are'} missing" if left else "it has them"
    return (f"GitLab asks for {_several(max(required, left))} of its own; {state}.",)


def _settings(project: Json) -> Sequence[str]:
    sentences: list[str] = []
    if project.get("only_allow_merge_if_pipeline_succeeds"):
        sentences.append("GitLab merges only what its pipeline has passed.")
    if project.get("only_allow_merge_if_all_discussions_are_resolved"):
        sentences.append("GitLab merges only when all discussions are resolved.")
    return sentences


def _who(grants: Any) -> str:
    """For example "Maintainers or Mia"; empty where nobody is let."""
    names = [
        text(each, "access_level_description")
        for each in records(grants or [])
        if each.get("access_level") != _NOBODY
    ]
    return " or ".join(dict.fromkeys(name for name in names if name))


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _several(approvals: int) -> str:
    return "1 approval" if approvals == 1 else f"{approvals} approvals"
