"""Branches and tags."""

from __future__ import annotations

import re
from typing import Any

from playground.gitlab import views
from playground.gitlab.commit_actions import add_readme, check_push
from playground.gitlab.git_repo import ZERO, GitError, run_git
from playground.gitlab.http import ApiError, Call, Many, Reply, Routes, not_found
from playground.gitlab.records import DEVELOPER, MAINTAINER, Project
from playground.gitlab.repository import CODE
from playground.gitlab.views import moment_of

routes = Routes()
BRANCHES = "/projects/{id}/repository/branches"
TAGS = "/projects/{id}/repository/tags"


async def _branch(call: Call, project: Project, name: str, sha: str) -> dict[str, Any]:
    repository = call.forge.repository(project)
    rules = call.state.protection(project, name)
    head = await repository.branch(project.default_branch)
    merged = name != project.default_branch and head and await repository.is_ancestor(sha, head)
    return {
        "name": name,
        "commit": views.commit(call.forge, project, await repository.commit(sha)),
        "merged": bool(merged),
        "protected": bool(rules),
        "developers_can_push": any(g.access_level == 30 for r in rules for g in r.push),
        "developers_can_merge": any(g.access_level == 30 for r in rules for g in r.merge),
        "can_push": call.state.may_push(project, call.actor, name),
        "default": name == project.default_branch,
        "web_url": f"{call.forge.web_url(project)}/-/tree/{name}",
    }


async def _wanted(call: Call) -> tuple[Project, str, str]:
    project, name = call.project, call.path["branch"]
    sha = await call.forge.repository(project).branch(name)
    if sha is None:
        raise not_found("Branch")
    return project, name, sha


@routes.get(BRANCHES, **CODE)
async def listed(call: Call) -> Any:
    project = call.project
    found = sorted((await call.forge.repository(project).refs("heads")).items())
    if wanted := call.text("search"):
        start, end = wanted.startswith("^"), wanted.endswith("$")
        text = wanted.strip("^$")
        tests = {
            (True, True): lambda n: n == text,
            (True, False): lambda n: n.startswith(text),
            (False, True): lambda n: n.endswith(text),
            (False, False): lambda n: text in n,
        }
        found = [(n, s) for n, s in found if tests[start, end](n)]
    if call.text("regex"):
        pattern = re.compile(call.text("regex"))
        found = [(n, s) for n, s in found if pattern.search(n)]
    return Many(found, lambda item: _branch(call, project, *item))


@routes.get(BRANCHES + "/{branch}", **CODE)
async def one(call: Call) -> Any:
    if call.request.method == "HEAD":
        await _wanted(call)
        return Reply(status=204)
    return await _branch(call, *await _wanted(call))


@routes.post(BRANCHES, DEVELOPER)
async def create(call: Call) -> Any:
    project = call.project
    call.need("branch", "ref")
    name = call.text("branch")
    repository = call.forge.repository(project)
    code, _ = await run_git("check-ref-format", "--branch", name, ok=(0, 1, 128))
    if code:
        raise ApiError(400, "Branch name is invalid")
    if await repository.branch(name):
        raise ApiError(400, "Branch already exists")
    if not call.forge.has_commits(project):
        await add_readme(call, project, "Add README.md")
    sha = await repository.resolve(call.text("ref"))
    if sha is None:
        raise ApiError(400, "Invalid reference name: " + call.text("ref"))
    check_push(call, project, name)
    try:
        await repository.update_ref(f"refs/heads/{name}", sha, ZERO)
    except GitError as problem:
        raise ApiError(400, str(problem)) from problem
    await call.forge.pushed(project, call.user, [(ZERO, sha, f"refs/heads/{name}")])
    return await _branch(call, project, name, sha)


@routes.delete(BRANCHES + "/{branch}", DEVELOPER)
async def remove(call: Call) -> Any:
    project, name, sha = await _wanted(call)
    if name == project.default_branch:
        raise ApiError(403, "Cannot remove HEAD branch")
    if call.state.protection(project, name) and call.state.access(project, call.user) < MAINTAINER:
        raise ApiError(403, "Cannot delete a protected branch")
    await call.forge.repository(project).delete_ref(f"refs/heads/{name}")
    await call.forge.pushed(project, call.user, [(sha, ZERO, f"refs/heads/{name}")])
    return Reply(status=204)


@routes.delete("/projects/{id}/repository/merged_branches", DEVELOPER)
async def remove_merged(call: Call) -> Any:
    project = call.project
    repository = call.forge.repository(project)
    head = await repository.branch(project.default_branch)
    for name, sha in (await repository.refs("heads")).items():
        kept = name == project.default_branch or call.state.protection(project, name)
        if head and not kept and await repository.is_ancestor(sha, head):
            await repository.delete_ref(f"refs/heads/{name}")
            await call.forge.pushed(project, call.user, [(sha, ZERO, f"refs/heads/{name}")])
    return Reply({"message": "202 Accepted"}, 202)


@routes.put(BRANCHES + "/{branch}/protect", MAINTAINER)
async def protect(call: Call) -> Any:
    project, name, sha = await _wanted(call)
    push = 30 if call.flag("developers_can_push") else 40
    merge = 30 if call.flag("developers_can_merge") else 40
    call.state.protect(project, name, push=push, merge=merge)
    return await _branch(call, project, name, sha)


@routes.put(BRANCHES + "/{branch}/unprotect", MAINTAINER)
async def unprotect(call: Call) -> Any:
    project, name, sha = await _wanted(call)
    project.protected_branches.pop(name, None)
    return await _branch(call, project, name, sha)


# --- tags


async def _tag(call: Call, project: Project, name: str, sha: str) -> dict[str, Any]:
    repository = call.forge.repository(project)
    out = await repository.text(
        "for-each-ref", "--format=%(objecttype)%09%(objectname)%09%(contents)", f"refs/tags/{name}"
    )
    kind, target, message = (*out.split("\t", 2), "", "")[:3]
    commit = await repository.commit(sha)
    return {
        "name": name,
        "message": message.strip() if kind == "tag" else "",
        "target": target,
        "commit": views.commit(call.forge, project, commit),
        "release": None,
        "protected": False,
        "created_at": moment_of(commit.committed) if kind == "tag" else None,
    }


async def _wanted_tag(call: Call) -> tuple[Project, str, str]:
    project, name = call.project, call.path["tag"]
    sha = (await call.forge.repository(project).refs("tags")).get(name)
    if sha is None:
        raise not_found("Tag")
    return project, name, sha


@routes.get(TAGS, **CODE)
async def tags(call: Call) -> Any:
    project = call.project
    found = sorted((await call.forge.repository(project).refs("tags")).items(), reverse=True)
    found = [(n, s) for n, s in found if call.text("search").strip("^$") in n]
    return Many(found, lambda item: _tag(call, project, *item))


@routes.get(TAGS + "/{tag}", **CODE)
async def tag(call: Call) -> Any:
    return await _tag(call, *await _wanted_tag(call))


@routes.post(TAGS, DEVELOPER)
async def create_tag(call: Call) -> Any:
    project = call.project
    call.need("tag_name", "ref")
    name = call.text("tag_name")
    repository = call.forge.repository(project)
    if name in await repository.refs("tags"):
        raise ApiError(400, f"Tag {name} already exists")
    sha = await repository.resolve(call.text("ref"))
    if sha is None:
        raise ApiError(400, f"Target {call.text('ref')} is invalid")
    if message := call.text("message"):
        env = {"GIT_COMMITTER_NAME": call.user.name, "GIT_COMMITTER_EMAIL": call.user.email}
        await repository.git("tag", "-a", "-m", message, "--", name, sha, env=env)
    else:
        await repository.update_ref(f"refs/tags/{name}", sha, ZERO)
    await call.forge.pushed(project, call.user, [(ZERO, sha, f"refs/tags/{name}")])
    return await _tag(call, project, name, sha)


@routes.delete(TAGS + "/{tag}", DEVELOPER)
async def remove_tag(call: Call) -> Any:
    project, name, sha = await _wanted_tag(call)
    await call.forge.repository(project).delete_ref(f"refs/tags/{name}")
    await call.forge.pushed(project, call.user, [(sha, ZERO, f"refs/tags/{name}")])
    return Reply(status=204)
