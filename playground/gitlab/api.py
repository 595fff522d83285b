"""Every route of the API, in the order in which they are tried."""

from __future__ import annotations

from playground.gitlab import (
    approvals,
    branches,
    ci_api,
    commit_statuses,
    commits,
    deployments,
    discussions,
    files,
    groups,
    hooks,
    instance,
    issues,
    jobs,
    labels,
    members,
    merge_requests,
    merge_trains,
    merging,
    milestones,
    project_keys,
    projects,
    protection,
    reactions,
    repository,
    tokens,
    users,
    variables,
)
from playground.gitlab.http import Route

ROOT = "/api/v4"
MODULES = (
    instance,
    users,
    tokens,
    groups,
    members,
    projects,
    labels,
    milestones,
    variables,
    project_keys,
    hooks,
    protection,
    repository,
    files,
    commits,
    commit_statuses,
    branches,
    merge_requests,
    merge_trains,
    merging,
    approvals,
    discussions,
    reactions,
    issues,
    ci_api,
    jobs,
    deployments,
)


def match(method: str, raw_path: str) -> tuple[Route, dict[str, str]] | bool:
    """The route and what varies in its path; else whether the path has another method."""
    path = raw_path.partition("?")[0].removeprefix(ROOT).rstrip("/")
    known = False
    for module in MODULES:
        found = module.routes.match(method, path)
        if not isinstance(found, bool):
            return found
        known = known or found
    return known
