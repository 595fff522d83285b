"""Commits: listed, made from actions, picked, reverted, talked about, given statuses."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from playground.gitlab import views
from playground.gitlab.ci_records import Job, Pipeline
from playground.gitlab.git_repo import EMPTY_TREE, ZERO, GitError, MergeConflict, Signature
from playground.gitlab.http import ApiError, Call, Many, Reply, Routes, not_found
from playground.gitlab.merge_views import basic
from playground.gitlab.records import DEVELOPER, Discussed, Discussion, Note, Project
from playground.gitlab.repository import CODE, commit_of
from playground.gitlab.views import when

routes = Routes()
BASE = "/projects/{id}/repository/commits"


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


# --- routes


@routes.get(BASE, **CODE)
async def listed(call: Call) -> Any:
    project = call.project
    repository = call.forge.repository(project)
    args = ["--all"] if call.flag("all") else []
    if not args:
        ref = call.text("ref_name") or project.default_branch
        if ".." in ref:
            args = [ref]
        elif sha := await repository.resolve(ref):
            args = [sha]
        elif call.text("ref_name"):
            raise not_found("Commit")
        else:
            return []
    for name, option in (("since", "--since"), ("until", "--until"), ("author", "--author")):
        if call.text(name):
            args.append(f"{option}={call.text(name)}")
    if call.flag("first_parent"):
        args.append("--first-parent")
    commits = await repository.log(*args, "--", *([call.text("path")] if call.text("path") else []))
    return Many(commits, lambda c: views.commit(call.forge, project, c))


@routes.post(BASE, DEVELOPER)
async def create(call: Call) -> Any:
    project = call.project
    call.need("branch", "commit_message")
    actions = [a for a in call.items("actions") if isinstance(a, dict)]
    if not actions:
        raise ApiError(400, {"error": "actions is missing"})
    start = call.text("start_branch") or call.text("start_sha")
    if start == call.text("branch"):
        start = ""
    branch, message = call.text("branch"), call.text("commit_message")
    sha = await commit_changes(call, project, branch, actions, message, start=start)
    return await detail(call, project, sha)


async def detail(call: Call, project: Project, sha: str) -> dict[str, Any]:
    repository = call.forge.repository(project)
    commit = await repository.commit(sha)
    added, removed = await repository.stats(sha)
    lines = [p for p in project.pipelines.values() if p.sha == sha]
    last = lines[-1] if lines else None
    return views.commit(call.forge, project, commit) | {
        "stats": {"additions": added, "deletions": removed, "total": added + removed},
        "status": last.status if last else None,
        "project_id": project.id,
        "last_pipeline": {
            "id": last.id,
            "iid": last.iid,
            "project_id": project.id,
            "sha": last.sha,
            "ref": last.ref,
            "status": last.status,
            "source": last.source,
            "created_at": when(last.created_at),
            "updated_at": when(last.updated_at),
            "web_url": f"{call.forge.web_url(project)}/-/pipelines/{last.id}",
        }
        if last
        else None,
    }


@routes.get(BASE + "/{sha}", **CODE)
async def one(call: Call) -> Any:
    project = call.project
    return await detail(call, project, await commit_of(call, call.path["sha"]))


@routes.get(BASE + "/{sha}/diff", **CODE)
async def diff(call: Call) -> Any:
    repository = call.forge.repository(call.project)
    commit = await repository.commit(await commit_of(call, call.path["sha"]))
    before = commit.parents[0] if commit.parents else EMPTY_TREE
    return [views.diff(d) for d in await repository.diff(before, commit.id)]


@routes.get(BASE + "/{sha}/refs", **CODE)
async def refs(call: Call) -> Any:
    repository = call.forge.repository(call.project)
    sha = await commit_of(call, call.path["sha"])
    kinds = {"branch": "heads", "tag": "tags"}
    found: list[dict[str, str]] = []
    for kind, prefix in kinds.items():
        if call.text("type", "all") in ("all", kind):
            names = await repository.text(
                "for-each-ref", f"--contains={sha}", "--format=%(refname:strip=2)", f"refs/{prefix}"
            )
            found += [{"type": kind, "name": name} for name in names.splitlines()]
    return found


@routes.get(BASE + "/{sha}/merge_requests", **CODE)
async def merge_requests(call: Call) -> Any:
    project = call.project
    sha = await commit_of(call, call.path["sha"])
    repository = call.forge.repository(project)
    found = [
        mr
        for mr in project.merge_requests.values()
        if sha in (mr.sha, mr.merge_commit_sha, mr.squash_commit_sha)
        or (
            mr.sha
            and mr.source_project_id == project.id
            and mr.base_sha != sha
            and await repository.is_ancestor(sha, mr.sha)
            and not (mr.base_sha and await repository.is_ancestor(sha, mr.base_sha))
        )
    ]
    return [await basic(call.forge, project, mr) for mr in found]


@routes.get(BASE + "/{sha}/signature", **CODE)
async def signature(call: Call) -> Any:
    await commit_of(call, call.path["sha"])
    raise not_found("Signature")


@routes.get(BASE + "/{sha}/sequence", **CODE)
async def sequence(call: Call) -> Any:
    sha = await commit_of(call, call.path["sha"])
    count = await call.forge.repository(call.project).text("rev-list", "--count", sha)
    return {"count": int(count)}


async def _transplant(call: Call, *, revert: bool) -> Any:
    project = call.project
    call.need("branch")
    branch = call.text("branch")
    repository = call.forge.repository(project)
    commit = await repository.commit(await commit_of(call, call.path["sha"]))
    head = await repository.branch(branch)
    if head is None:
        raise ApiError(400, f"The branch '{branch}' does not exist")
    check_push(call, project, branch)
    verb = "revert" if revert else "cherry-pick"
    parent = commit.parents[0] if commit.parents else EMPTY_TREE
    before, after = (commit.id, parent) if revert else (parent, commit.id)
    try:
        tree = await repository.applied_tree(head, before, after)
    except MergeConflict:
        raise _refused(verb, "conflict", "A merge conflict occurred") from None
    if tree == await repository.text("rev-parse", f"{head}^{{tree}}"):
        raise _refused(verb, "empty", "The change is already there")
    if call.flag("dry_run"):
        return Reply({"dry_run": "success"}, 200)
    message = call.text("message") or f"{commit.message}\n\n(cherry picked from commit {commit.id})"
    author = Signature(name=commit.author, email=commit.author_email)
    if revert:
        message = f'Revert "{commit.title}"\n\nThis reverts commit {commit.id}'
        author = author_of(call)
    by = Signature(name=call.user.name, email=call.user.email)
    sha = await repository.commit_tree(tree, [head], message, author, by)
    await repository.update_ref(f"refs/heads/{branch}", sha, head)
    await call.forge.pushed(project, call.user, [(head, sha, f"refs/heads/{branch}")])
    return views.commit(call.forge, project, await repository.commit(sha))


def _refused(verb: str, code: str, why: str) -> ApiError:
    text = f"Sorry, we cannot {verb} this commit automatically. {why}."
    return ApiError(400, {"message": text, "error_code": code})


@routes.post(BASE + "/{sha}/cherry_pick", DEVELOPER)
async def cherry_pick(call: Call) -> Any:
    return await _transplant(call, revert=False)


@routes.post(BASE + "/{sha}/revert", DEVELOPER)
async def revert(call: Call) -> Any:
    return await _transplant(call, revert=True)


# --- comments


@routes.get(BASE + "/{sha}/comments", **CODE)
async def comments(call: Call) -> Any:
    talk = call.project.commits.get(await commit_of(call, call.path["sha"]), Discussed())
    return [_comment(call, note) for note in talk.notes]


def _comment(call: Call, note: Note) -> dict[str, Any]:
    position = note.position or {}
    return {
        "note": note.body,
        "path": position.get("path"),
        "line": position.get("line"),
        "line_type": position.get("line_type"),
        "author": views.user_by_id(call.forge, note.author_id),
        "created_at": when(note.created_at),
    }


@routes.post(BASE + "/{sha}/comments", DEVELOPER)
async def comment(call: Call) -> Any:
    project = call.project
    call.need("note")
    sha = await commit_of(call, call.path["sha"])
    now = call.state.now()
    position = {name: call.params.get(name) for name in ("path", "line", "line_type")}
    note = Note(
        id=call.state.next_id("note"),
        body=call.text("note"),
        author_id=call.user.id,
        created_at=now,
        updated_at=now,
        position=position if call.text("path") else None,
    )
    talk = project.commits.setdefault(sha, Discussed())
    talk.discussions.append(Discussion(id=f"{note.id:040x}", notes=[note], individual=True))
    return _comment(call, note)


# --- statuses that other systems report

STATES = ("pending", "running", "success", "failed", "canceled", "skipped")


def _status(call: Call, project: Project, line: Pipeline, job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "sha": line.sha,
        "ref": job.ref,
        "status": job.status,
        "name": job.name,
        "target_url": job.external.get("target_url"),
        "description": job.external.get("description"),
        "created_at": when(job.created_at),
        "started_at": when(job.started_at),
        "finished_at": when(job.finished_at),
        "allow_failure": job.allow_failure,
        "coverage": job.coverage,
        "pipeline_id": line.id,
        "author": views.user_by_id(call.forge, job.user_id),
    }


@routes.get(BASE + "/{sha}/statuses", **CODE)
async def statuses(call: Call) -> Any:
    project = call.project
    sha = await commit_of(call, call.path["sha"])
    found = [
        (line, job)
        for line in project.pipelines.values()
        if line.sha == sha
        for job in line.jobs
        if (call.flag("all") or not job.retried)
        and call.text("name", job.name) == job.name
        and call.text("stage", job.stage) == job.stage
        and call.text("ref", job.ref) == job.ref
    ]
    return [_status(call, project, line, job) for line, job in found]


@routes.post("/projects/{id}/statuses/{sha}", DEVELOPER)
async def set_status(call: Call) -> Any:
    project = call.project
    call.need("state")
    state = call.text("state")
    if state not in STATES:
        raise ApiError(400, {"error": "state does not have a valid value"})
    sha = await commit_of(call, call.path["sha"])
    name = call.text("name") or call.text("context") or "default"
    ref = call.text("ref") or await _some_branch(call, project, sha)
    line = call.forge.pipelines.external(project, call.user, ref, sha, call.number("pipeline_id"))
    external = {n: call.params.get(n) for n in ("target_url", "description")}
    job = call.forge.pipelines.report(project, line, call.user, name, state, external)
    return _status(call, project, line, job)


async def _some_branch(call: Call, project: Project, sha: str) -> str:
    try:
        names = await call.forge.repository(project).text(
            "for-each-ref", f"--contains={sha}", "--format=%(refname:strip=2)", "refs/heads"
        )
    except GitError:
        names = ""
    found = names.splitlines()
    if not found:
        raise not_found("References for commit")
    return project.default_branch if project.default_branch in found else found[0]
