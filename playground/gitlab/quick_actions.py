"""Quick actions: lines of a comment that GitLab carries out, as whoever posted it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from playground.gitlab import closing, merging, payloads
from playground.gitlab.http import ApiError
from playground.gitlab.records import DEVELOPER, Issue, MergeRequest, Project, User

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge

COMMANDS = {
    *("merge", "approve", "unapprove", "close", "reopen", "title", "label", "unlabel", "assign"),
    *("unassign", "draft", "ready", "target_branch", "assign_reviewer", "reviewer", "rebase"),
}
LINE = re.compile(r"^/([a-z_]+)(?:[ \t]+(.*?))?[ \t]*$", re.MULTILINE)
QUOTED = re.compile(r"^(`{3,}|~{3,})[^\n]*\n.*?^\1[ \t]*$|<!--.*?-->", re.MULTILINE | re.DOTALL)


def extract(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The text without its commands, and the commands. A carriage return counts as the end of a
    line, so a command behind one stands at the start; code blocks hide commands."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    hidden = [found.span() for found in QUOTED.finditer(plain)]
    commands: list[tuple[str, str]] = []

    def take(found: re.Match[str]) -> str:
        inside = any(start <= found.start() < end for start, end in hidden)
        if found[1] not in COMMANDS or inside:
            return found[0]
        commands.append((found[1], found[2] or ""))
        return ""

    rest = LINE.sub(take, plain)
    return (rest.strip() if commands else text), commands


async def execute(
    forge: Forge,
    project: Project,
    item: Issue | MergeRequest,
    user: User,
    commands: list[tuple[str, str]],
) -> dict[str, Any]:
    """What changed; a command that the poster may not give changes nothing."""
    changes: dict[str, Any] = {}
    for name, argument in commands:
        try:
            if await _one(forge, project, item, user, name, argument):
                changes[name] = argument or True
        except ApiError:
            continue
    if changes:
        item.updated_at = forge.state.now()
    return changes


async def _one(
    forge: Forge, project: Project, item: Issue | MergeRequest, user: User, name: str, argument: str
) -> bool:
    author = item.author_id == user.id
    if not author and forge.state.access(project, user) < 20:
        return False
    match name:
        case "label" | "unlabel":
            labels = [a or b for a, b in re.findall(r'~"([^"]+)"|~(\S+)', argument)]
            before = set(item.labels)
            changed = before | set(labels) if name == "label" else before - set(labels)
            item.labels = sorted(changed)
            return changed != before
        case "assign" | "unassign":
            people = [forge.state.user_by_name(n) for n in re.findall(r"@([\w.-]+)", argument)]
            people = [user] if argument.strip() == "me" else people
            numbers = [p.id for p in people if p]
            item.assignee_ids = (
                numbers
                if name == "assign"
                else [number for number in item.assignee_ids if numbers and number not in numbers]
            )
            return True
        case "title" if argument:
            item.title = argument
            return True
        case "close" | "reopen":
            return _state(forge, project, item, user, name)
        case _ if isinstance(item, MergeRequest):
            return await _merge_request(forge, project, item, user, name, argument)
        case _:
            return False


def _state(
    forge: Forge, project: Project, item: Issue | MergeRequest, user: User, name: str
) -> bool:
    wanted, after = ("opened", "closed") if name == "close" else ("closed", "opened")
    if item.state != wanted:
        return False
    if isinstance(item, Issue) and name == "close":
        closing.close(forge, project, user, item)
        return True
    item.state = after
    item.closed_by = user.id if name == "close" else None
    item.closed_at = forge.state.now() if name == "close" else None
    if isinstance(item, MergeRequest):
        payload = payloads.merge_request(forge, project, item, user, name)
        forge.webhooks.fire(project, "merge_requests_events", payload)
    return True


async def _merge_request(
    forge: Forge, project: Project, item: MergeRequest, user: User, name: str, argument: str
) -> bool:
    if forge.state.access(project, user) < DEVELOPER:
        return False
    match name:
        case "merge":
            await merging.merge(forge, project, item, user, sha=item.sha)
        case "approve":
            merging.approve(forge, project, item, user)
        case "unapprove":
            item.approved_by.pop(user.id, None)
        case "draft":
            item.title = item.title if item.draft else f"Draft: {item.title}"
        case "ready":
            item.title = merging.without_draft(item.title)
        case "target_branch":
            if await forge.repository(project).branch(argument) is None:
                return False
            item.target_branch = argument
            item.checking_since = forge.state.monotonic()
        case "rebase":
            await merging.rebase(forge, project, item, user)
        case _:
            people = [forge.state.user_by_name(n) for n in re.findall(r"@([\w.-]+)", argument)]
            item.reviewer_ids = [person.id for person in people if person]
    return True
