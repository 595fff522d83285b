"""Commits: listed, made from actions, picked, reverted, talked about, given statuses."""

from __future__ import annotations

from typing import Any

from playground.gitlab import views
from playground.gitlab.commit_actions import author_of, check_push, commit_changes
from playground.gitlab.git_repo import EMPTY_TREE, MergeConflict, Signature
from playground.gitlab.http import ApiError, Call, Many, Reply, Routes, not_found
from playground.gitlab.merge_views import basic
from playground.gitlab.records import DEVELOPER, Discussed, Discussion, Note, Project
from playground.gitlab.repository import CODE, commit_of
from playground.gitlab.views import when

routes = Routes()
BASE = "/projects/{id}/repository/commits"


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
        message = f'Revert "{commit.title}"\n\nThis reverts {_named(project, commit.id)}'
        author = author_of(call)
    by = Signature(name=call.user.name, email=call.user.email)
    sha = await repository.commit_tree(tree, [head], message, author, by)
    await repository.update_ref(f"refs/heads/{branch}", sha, head)
    await call.forge.pushed(project, call.user, [(head, sha, f"refs/heads/{branch}")])
    return views.commit(call.forge, project, await repository.commit(sha))


def _named(project: Project, sha: str) -> str:
    for mr in project.merge_requests.values():
        if sha in (mr.merge_commit_sha, mr.squash_commit_sha):
            return f"merge request !{mr.iid}"
    return f"commit {sha}"


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
