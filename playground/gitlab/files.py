"""Files of a repository, one at a time."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from playground.gitlab import views
from playground.gitlab.commit_actions import commit_changes
from playground.gitlab.http import ApiError, Call, Reply, Routes, not_found
from playground.gitlab.records import DEVELOPER
from playground.gitlab.repository import CODE

routes = Routes()
PATH = "/projects/{id}/repository/files/{file_path}"


async def _file(call: Call, *, default: bool = False) -> dict[str, Any]:
    project = call.project
    if not default:
        call.need("ref")
    repository = call.forge.repository(project)
    ref = call.text("ref") or project.default_branch
    commit = await repository.resolve(project.default_branch if ref == "HEAD" else ref)
    if commit is None:
        raise not_found("Commit")
    found = await repository.file(commit, call.path["file_path"])
    if found is None:
        raise not_found("File")
    entry, data = found
    last = await repository.log("-1", commit, "--", entry.path)
    return {
        "file_name": entry.path.rsplit("/", 1)[-1],
        "file_path": entry.path,
        "size": len(data),
        "encoding": "base64",
        "content_sha256": hashlib.sha256(data).hexdigest(),
        "ref": ref,
        "blob_id": entry.id,
        "commit_id": commit,
        "last_commit_id": last[0].id if last else commit,
        "execute_filemode": entry.mode == "100755",
        "content": data,
    }


def _headers(file: dict[str, Any]) -> dict[str, str]:
    return {
        "X-Gitlab-" + "-".join(part.capitalize() for part in name.split("_")): str(value).lower()
        if isinstance(value, bool)
        else str(value)
        for name, value in file.items()
        if name != "content"
    }


@routes.get(PATH, **CODE)
async def one(call: Call) -> Any:
    file = await _file(call)
    headers = _headers(file)
    body = file | {"content": base64.b64encode(file["content"]).decode()}
    return Reply(body, headers=headers)


@routes.get(PATH + "/raw", **CODE)
async def raw(call: Call) -> Any:
    file = await _file(call, default=True)
    return Reply(file["content"], headers=_headers(file), content_type="text/plain")


@routes.get(PATH + "/blame", **CODE)
async def blame(call: Call) -> Any:
    file = await _file(call)
    repository = call.forge.repository(call.project)
    out = await repository.git(
        "blame", "-s", "--porcelain", file["commit_id"], "--", file["file_path"]
    )
    ranges: list[dict[str, Any]] = []
    sha, seen = "", ""
    for line in out.decode("utf-8", "replace").split("\n"):
        first = line.split(" ", 1)[0]
        if len(first) == 40 and not line.startswith("\t"):
            sha = first
        elif line.startswith("\t"):
            if sha != seen:
                commit = await repository.commit(sha)
                shown = views.commit(call.forge, call.project, commit)
                names = ("id", "parent_ids", "message", "authored_date", "author_name")
                more = ("author_email", "committed_date", "committer_name", "committer_email")
                ranges.append({"commit": {n: shown[n] for n in names + more}, "lines": []})
                seen = sha
            ranges[-1]["lines"].append(line[1:])
    return ranges


async def _save(call: Call, action: str) -> Any:
    project = call.project
    call.need("branch", "commit_message", *(() if action == "delete" else ("content",)))
    path = call.path["file_path"]
    repository = call.forge.repository(project)
    branch = call.text("branch")
    if action != "create" and call.text("last_commit_id"):
        start = await repository.resolve(call.text("start_branch") or branch)
        last = await repository.log("-1", start, "--", path) if start else []
        if last and last[0].id != call.text("last_commit_id"):
            raise ApiError(
                400,
                "You are attempting to update a file that has changed since you "
                "started editing it.",
            )
    change = {
        "action": action,
        "file_path": path,
        "content": call.params.get("content"),
        "encoding": call.text("encoding", "text"),
        "execute_filemode": call.params.get("execute_filemode"),
    }
    start = call.text("start_branch")
    await commit_changes(
        call,
        project,
        branch,
        [change],
        call.text("commit_message"),
        start=start if start != branch else "",
    )
    return {"file_path": path, "branch": branch}


@routes.post(PATH, DEVELOPER)
async def create(call: Call) -> Any:
    return Reply(await _save(call, "create"), 201)


@routes.put(PATH, DEVELOPER)
async def update(call: Call) -> Any:
    return Reply(await _save(call, "update"), 200)


@routes.delete(PATH, DEVELOPER)
async def remove(call: Call) -> Any:
    await _save(call, "delete")
    return Reply(status=204)
