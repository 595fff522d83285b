"""Reading a repository: trees, blobs, archives, comparisons."""

from __future__ import annotations

import base64
import bz2
import gzip
from typing import Any

from playground.gitlab import views
from playground.gitlab.git_repo import GitError, Repository
from playground.gitlab.http import ApiError, Call, Many, Reply, Routes, not_found
from playground.gitlab.records import REPORTER, Project
from playground.gitlab.views import Json

routes = Routes()
CODE: dict[str, Any] = {"access": REPORTER, "scopes": ["read_repository"]}
FORMATS = {
    "tar.gz": "gz",
    "tgz": "gz",
    "gz": "gz",
    **dict.fromkeys(("tar.bz2", "tbz", "tbz2", "tb2", "bz2"), "bz2"),
    "tar": "",
    "zip": "zip",
}


async def commit_of(call: Call, ref: str, project: Project | None = None) -> str:
    """The commit of a branch, tag or SHA, or GitLab's 404."""
    project = project or call.project
    sha = await call.forge.repository(project).resolve(ref)
    if sha is None:
        raise not_found("Commit")
    return sha


async def head_of(call: Call) -> tuple[Repository, str]:
    project = call.project
    repository = call.forge.repository(project)
    sha = await repository.resolve(call.text("ref") or project.default_branch)
    if sha is None:
        raise not_found("Tree")
    return repository, sha


@routes.get("/projects/{id}/repository/tree", **CODE)
async def tree(call: Call) -> Any:
    repository, sha = await head_of(call)
    path = call.text("path")
    try:
        entries = await repository.tree(sha, path, recursive=call.flag("recursive"))
    except GitError:
        raise not_found("invalid revision or path") from None
    entries.sort(key=lambda e: (e.kind != "tree", e.path))
    return Many(
        entries,
        lambda e: {
            "id": e.id,
            "name": e.path.rsplit("/", 1)[-1],
            "type": e.kind,
            "path": e.path,
            "mode": e.mode,
        },
    )


async def _blob(call: Call) -> tuple[str, bytes]:
    sha = call.path["sha"]
    try:
        return sha, await call.forge.repository(call.project).blob(sha)
    except GitError:
        raise not_found("Blob") from None


@routes.get("/projects/{id}/repository/blobs/{sha}", **CODE)
async def blob(call: Call) -> Any:
    sha, data = await _blob(call)
    content = base64.b64encode(data).decode()
    return {"size": len(data), "encoding": "base64", "content": content, "sha": sha}


@routes.get("/projects/{id}/repository/blobs/{sha}/raw", **CODE)
async def raw_blob(call: Call) -> Any:
    return Reply((await _blob(call))[1], content_type="text/plain")


@routes.get("/projects/{id}/repository/archive", **CODE)
@routes.get("/projects/{id}/repository/archive{suffix}", **CODE)
async def archive(call: Call) -> Any:
    kind = call.path.get("suffix", "").lstrip(".") or call.text("format", "tar.gz")
    if kind not in FORMATS:
        raise not_found("File")
    project = call.project
    repository = call.forge.repository(project)
    sha = await commit_of(call, call.text("sha") or project.default_branch)
    name = f"{project.path}-{call.text('sha') or project.default_branch}-{sha}".replace("/", "-")
    packed = FORMATS[kind]
    inner = "zip" if packed == "zip" else "tar"
    path = ["--", call.text("path")] if call.text("path") else []
    data = await repository.git("archive", f"--format={inner}", f"--prefix={name}/", sha, *path)
    if packed == "gz":
        data = gzip.compress(data, mtime=0)
    elif packed == "bz2":
        data = bz2.compress(data)
    disposition = f'attachment; filename="{name}.{kind}"'
    return Reply(
        data, headers={"Content-Disposition": disposition}, content_type="application/octet-stream"
    )


@routes.get("/projects/{id}/repository/compare", **CODE)
async def compare(call: Call) -> Any:
    call.need("from", "to")
    project = call.project
    repository = call.forge.repository(project)
    old = await commit_of(call, call.text("from"))
    new = await commit_of(call, call.text("to"))
    base = old if call.flag("straight") else await repository.merge_base(old, new)
    commits = await repository.log("--reverse", new, f"^{old}", "--")
    shown = [views.commit(call.forge, project, c) for c in commits]
    diffs = await repository.diff(base or old, new) if old != new else []
    return {
        "commit": shown[-1] if shown else None,
        "commits": shown,
        "diffs": [views.diff(d) for d in diffs],
        "compare_timeout": False,
        "compare_same_ref": old == new,
        "web_url": f"{call.forge.web_url(project)}/-/compare/{old}...{new}",
    }


@routes.get("/projects/{id}/repository/merge_base", **CODE)
async def merge_base(call: Call) -> Any:
    refs = call.items("refs")
    if len(refs) < 2:
        raise ApiError(400, "Provide at least 2 refs")
    repository = call.forge.repository(call.project)
    shas = [await commit_of(call, str(ref)) for ref in refs]
    base = await repository.merge_base(*shas)
    if base is None:
        raise not_found("Merge Base")
    return views.commit(call.forge, call.project, await repository.commit(base))


@routes.get("/projects/{id}/repository/contributors", **CODE)
async def contributors(call: Call) -> Any:
    repository, sha = await head_of(call)
    found: dict[str, Json] = {}
    for commit in await repository.log("--no-merges", sha, "--"):
        row = found.setdefault(
            commit.author_email,
            {
                "name": commit.author,
                "email": commit.author_email,
                "commits": 0,
                "additions": 0,
                "deletions": 0,
            },
        )
        row["commits"] += 1
    return list(found.values())
