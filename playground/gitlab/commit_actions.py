"""Commits made of file actions, by whoever may push the branch."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from playground.gitlab.git_repo import ZERO, Signature
from playground.gitlab.http import ApiError, Call
from playground.gitlab.records import DEVELOPER, Project


def author_of(call: Call) -> Signature:
    return Signature(
        name=call.text("author_name", call.user.name),
        email=call.text("author_email", call.user.email),
    )


def check_push(call: Call, project: Project, branch: str) -> None:
    if not call.state.may_push(project, call.user, branch):
        raise ApiError(
            400 if call.state.access(project, call.user) >= DEVELOPER else 403,
            "You are not allowed to push into this branch",
        )


async def commit_changes(
    call: Call,
    project: Project,
    branch: str,
    actions: Sequence[dict[str, Any]],
    message: str,
    *,
    start: str = "",
) -> str:
    """One commit of file actions on a branch, which may be new; returns its SHA."""
    check_push(call, project, branch)
    repository = call.forge.repository(project)
    async with call.forge.lock(project):
        head = await repository.branch(branch)
        base = head
        if start and head is not None:
            raise ApiError(
                400,
                f"A branch called '{branch}' already exists. Switch to that branch "
                "in order to make changes",
            )
        if head is None and call.forge.has_commits(project):
            base = await repository.resolve(start) if start else None
            if base is None:
                raise ApiError(400, "You can only create or edit files when you are on a branch")
        changes: list[tuple[str, str, str]] = []
        for action in actions:
            changes += await _change(call, project, base, action)
        tree = await repository.edited_tree(base, changes)
        parents = [base] if base else []
        sha = await repository.commit_tree(tree, parents, message, author_of(call))
        await repository.update_ref(f"refs/heads/{branch}", sha, head or ZERO)
    await call.forge.pushed(project, call.user, [(head or ZERO, sha, f"refs/heads/{branch}")])
    return sha


async def add_readme(call: Call, project: Project, message: str) -> None:
    """The first commit of an empty project, which GitLab makes where it needs one."""
    readme = {"action": "create", "file_path": "README.md", "content": f"# {project.name}\n"}
    await commit_changes(call, project, project.default_branch, [readme], message)


async def _change(
    call: Call, project: Project, base: str | None, action: dict[str, Any]
) -> list[tuple[str, str, str]]:
    repository = call.forge.repository(project)
    path = str(action.get("file_path") or "").strip("/")
    if not path or ".." in path.split("/") or ".git" in path.split("/"):
        raise ApiError(400, "Path cannot include directory traversal")
    found = await repository.file(base, path) if base else None
    kind = action.get("action")
    if kind == "create" and found:
        raise ApiError(400, "A file with this name already exists")
    if kind in ("update", "delete", "chmod") and not found:
        raise ApiError(400, "A file with this name doesn't exist")
    mode = found[0].mode if found else "100644"
    if "execute_filemode" in action and action["execute_filemode"] is not None:
        mode = "100755" if str(action["execute_filemode"]).lower() == "true" else "100644"
    gone = ("0", ZERO, path)
    match kind:
        case "delete":
            return [gone]
        case "chmod":
            assert found is not None
            return [(mode, found[0].id, path)]
        case "move":
            previous = str(action.get("previous_path") or "")
            old = await repository.file(base, previous) if base else None
            if old is None:
                raise ApiError(400, "A file with this name doesn't exist")
            kept = action.get("content") is None
            blob = old[0].id if kept else await repository.add_blob(_content(action))
            return [("0", ZERO, previous), (old[0].mode, blob, path)]
        case "create" | "update":
            return [(mode, await repository.add_blob(_content(action)), path)]
        case _:
            raise ApiError(400, {"error": "actions[action] does not have a valid value"})


def _content(action: dict[str, Any]) -> bytes:
    content = action.get("content") or ""
    if action.get("encoding") == "base64":
        try:
            return base64.b64decode(content)
        except binascii.Error:
            raise ApiError(400, {"error": "content is not valid base64"}) from None
    return content.encode() if isinstance(content, str) else bytes(content)
