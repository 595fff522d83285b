"""`Closes #1`: which issues a text closes, and closing them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playground.gitlab import payloads
from playground.gitlab.git_repo import ZERO
from playground.gitlab.records import Issue, Project, User

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge

CLOSING = re.compile(
    r"\b(?:clos(?:e[sd]?|ing)|fix(?:e[sd]|ing)?|resolv(?:e[sd]?|ing)|implement(?:s|ed|ing)?):? +"
    r"((?:(?:issues? +)?#\d+(?:(?:, *| +and +)?))+)",
    re.IGNORECASE,
)


def closes(project: Project, text: str) -> list[Issue]:
    numbers = [int(n) for hit in CLOSING.findall(text) for n in re.findall(r"#(\d+)", hit)]
    return [project.issues[n] for n in dict.fromkeys(numbers) if n in project.issues]


def close(forge: Forge, project: Project, user: User, issue: Issue) -> None:
    if issue.state == "closed":
        return
    issue.state = "closed"
    issue.closed_by = user.id
    issue.closed_at = issue.updated_at = forge.state.now()
    forge.webhooks.fire(
        project, "issues_events", payloads.issue(forge, project, issue, user, "close")
    )
    forge.state.publish("issue", project, issue.iid)


async def close_by_commits(forge: Forge, project: Project, user: User, old: str, new: str) -> None:
    """What the default branch's new commits say."""
    if not project.setting("autoclose_referenced_issues"):
        return
    span = [new] if old == ZERO else [new, f"^{old}"]
    for commit in await forge.repository(project).log("-100", *span, "--"):
        for issue in closes(project, commit.message):
            close(forge, project, user, issue)
