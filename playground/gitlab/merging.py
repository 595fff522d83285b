"""Merging a merge request, now or when its pipeline has passed, and rebasing it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from playground.gitlab import closing, merge_trains, payloads
from playground.gitlab.ci_records import Pipeline
from playground.gitlab.git_repo import GitError, MergeConflict, Signature
from playground.gitlab.http import ApiError, Call, Reply, Routes, not_found
from playground.gitlab.merge_views import (
    TRANSITIONAL,
    conflicts,
    detailed_status,
    full,
    head_pipeline,
)
from playground.gitlab.pipeline_order import ACTIVE
from playground.gitlab.records import DEVELOPER, REPORTER, MergeRequest, Project, User

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge

routes = Routes()
BASE = "/projects/{id}/merge_requests/{iid}"


def merge_request_of(call: Call, name: str = "iid") -> MergeRequest:
    found = call.project.merge_requests.get(call.segment(name))
    if found is None:
        raise not_found()
    return found


def without_draft(title: str) -> str:
    return re.sub(r"^(\[draft\]|\(draft\)|draft:)\s*", "", title, flags=re.IGNORECASE)


def approve(forge: Forge, project: Project, mr: MergeRequest, user: User) -> None:
    mr.approved_by[user.id] = mr.updated_at = forge.state.now()
    payload = payloads.merge_request(forge, project, mr, user, "approved")
    forge.webhooks.fire(project, "merge_requests_events", payload)
    forge.state.publish("merge_request", project, mr.iid)


def allowed(forge: Forge, project: Project, user: User, mr: MergeRequest, sha: str | None) -> None:
    if not forge.state.may_merge(project, user, mr.target_branch):
        raise ApiError(401, "401 Unauthorized")
    if sha is None and project.setting("require_sha_for_merge"):
        raise ApiError(400, "SHA must be provided when merging")


async def merge(
    forge: Forge,
    project: Project,
    mr: MergeRequest,
    user: User,
    *,
    sha: str | None,
    message: str = "",
    squash: bool | None = None,
    squash_message: str = "",
    remove_source: bool | None = None,
) -> None:
    """Raises `ApiError` with the status that GitLab gives each obstacle."""
    allowed(forge, project, user, mr, sha)
    status = await detailed_status(forge, project, mr)
    if status == "conflict":
        raise ApiError(422, "Branch cannot be merged")
    if status != "mergeable":
        raise ApiError(405, "405 Method Not Allowed")
    async with forge.lock(project):
        if mr.state != "opened":  # by now
            raise ApiError(405, "405 Method Not Allowed")
        if sha and sha != mr.sha:
            raise ApiError(409, f"SHA does not match HEAD of source branch: {mr.sha}")
        old, new = await _merge_commit(
            forge,
            project,
            mr,
            user,
            message,
            mr.squash if squash is None else squash,
            squash_message,
        )
    forge.mark_merged(project, user, mr)
    await forge.pushed(project, user, [(old, new, f"refs/heads/{mr.target_branch}")])
    if mr.target_branch == project.default_branch:
        for issue in closing.closes(project, f"{mr.title}\n{mr.description}"):
            closing.close(forge, project, user, issue)
    if mr.remove_source_branch if remove_source is None else remove_source:
        await _remove_source(forge, project, mr, user)


async def _merge_commit(
    forge: Forge,
    project: Project,
    mr: MergeRequest,
    user: User,
    message: str,
    squash: bool,
    squash_message: str,
) -> tuple[str, str]:
    """Moves the target branch; returns where it stood and where it stands."""
    repository = forge.repository(project)
    target = await repository.branch(mr.target_branch)
    source = mr.sha
    if target is None or source is None:
        raise ApiError(405, "405 Method Not Allowed")
    by = Signature(name=user.name, email=user.email)
    mr.base_sha = await repository.merge_base(target, source)
    try:
        tree = await repository.merged_tree(target, source)
        if squash or project.setting("squash_option") == "always":
            text = squash_message or mr.title
            source = await repository.commit_tree(tree, [target], text, by)
            mr.squash_commit_sha = source
        if project.setting("merge_method") == "ff":
            new = source
        else:
            text = message or _merge_message(forge, project, mr)
            new = await repository.commit_tree(tree, [target, source], text, by)
            mr.merge_commit_sha = new
        await repository.update_ref(f"refs/heads/{mr.target_branch}", new, target)
    except MergeConflict:
        raise ApiError(422, "Branch cannot be merged") from None
    except GitError as problem:
        raise ApiError(409, str(problem)) from problem
    return target, new


def _merge_message(forge: Forge, project: Project, mr: MergeRequest) -> str:
    path = forge.state.full_path(project)
    return (
        f"Merge branch '{mr.source_branch}' into '{mr.target_branch}'\n\n{mr.title}\n\n"
        f"See merge request {path}!{mr.iid}"
    )


async def _remove_source(forge: Forge, project: Project, mr: MergeRequest, user: User) -> None:
    source = forge.state.projects.get(mr.source_project_id)
    if source is None or mr.source_branch == source.default_branch:
        return
    if forge.state.protection(source, mr.source_branch):
        return
    head = await forge.repository(source).branch(mr.source_branch)
    if head and forge.state.may_push(source, user, mr.source_branch):
        await forge.repository(source).delete_ref(f"refs/heads/{mr.source_branch}")
        await forge.pushed(source, user, [(head, "0" * 40, f"refs/heads/{mr.source_branch}")])


async def pipeline_finished(forge: Forge, project: Project, pipeline: Pipeline) -> None:
    """Carries out an auto-merge that waited for this pipeline."""
    for mr in list(project.merge_requests.values()):
        if mr.auto_merge is None or mr.sha != pipeline.sha or mr.state != "opened":
            continue
        newest = head_pipeline(forge, project, mr)
        if newest is None or newest.id != pipeline.id:
            continue
        car = project.merge_train.get(mr.iid)
        if pipeline.status == "success" and (car is None or car.status != "idle"):
            await carry_out(forge, project, mr)


async def carry_out(forge: Forge, project: Project, mr: MergeRequest) -> None:
    """A merge that was asked for earlier; what keeps it back now takes it off the train."""
    wanted, user = mr.auto_merge or {}, forge.state.users[mr.auto_merge_by or mr.author_id]
    car = project.merge_train.get(mr.iid)
    try:
        await merge(forge, project, mr, user, **wanted)
    except ApiError as refusal:
        mr.merge_error = str(refusal.body.get("message"))
        mr.auto_merge = None
        project.merge_train.pop(mr.iid, None)
        forge.state.publish("merge_request", project, mr.iid)
        return
    if car is not None:
        car.status, car.merged_at = "merged", forge.state.now()
        car.updated_at = car.merged_at


async def rebase(forge: Forge, project: Project, mr: MergeRequest, user: User) -> None:
    """Puts the source's commits on top of the target, one by one."""
    repository = forge.repository(project)
    target = await repository.branch(mr.target_branch)
    if target is None or mr.sha is None:
        raise ApiError(403, "Source branch does not exist")
    if not forge.state.may_push(project, user, mr.source_branch):
        raise ApiError(403, "Cannot push to source branch")
    base, head = await repository.merge_base(target, mr.sha), target
    if base == target:
        return
    commits = await repository.log("--reverse", "--no-merges", mr.sha, f"^{target}", "--")
    try:
        for commit in commits:
            tree = await repository.applied_tree(head, commit.parents[0], commit.id)
            author = Signature(name=commit.author, email=commit.author_email)
            by = Signature(name=user.name, email=user.email)
            head = await repository.commit_tree(
                tree, [head], commit.message, author, by, date=commit.authored
            )
    except MergeConflict:
        mr.merge_error = "Rebase failed: Rebase locally, resolve all conflicts, then push."
        return
    mr.merge_error = None
    old = mr.sha
    await repository.update_ref(f"refs/heads/{mr.source_branch}", head, old)
    await forge.pushed(project, user, [(old, head, f"refs/heads/{mr.source_branch}")])


# --- routes


def wanted(call: Call) -> dict[str, Any]:
    """How it is to be merged: the keywords of `merge`."""
    remove = call.params.get("should_remove_source_branch")
    return {
        "sha": call.text("sha") or None,
        "message": call.text("merge_commit_message"),
        "squash": call.flag("squash") if "squash" in call.params else None,
        "squash_message": call.text("squash_commit_message"),
        "remove_source": None if remove is None else call.flag("should_remove_source_branch"),
    }


@routes.put(BASE + "/merge", DEVELOPER)
async def accept(call: Call) -> Any:
    project, mr = call.project, merge_request_of(call)
    how = wanted(call)
    if merge_trains.active(project) and not call.flag("skip_merge_train"):
        await merge_trains.board(call.forge, project, mr, call.user, how)
        return await full(call.forge, project, mr, call.actor)
    later = call.flag("auto_merge") or call.flag("merge_when_pipeline_succeeds")
    pipeline = head_pipeline(call.forge, project, mr)
    if later and mr.state == "opened" and pipeline and pipeline.status in ACTIVE:
        allowed(call.forge, project, call.user, mr, how["sha"])
        if mr.draft or await conflicts(call.forge, project, mr):
            raise ApiError(405, "405 Method Not Allowed")
        if how["sha"] and how["sha"] != mr.sha:
            raise ApiError(409, f"SHA does not match HEAD of source branch: {mr.sha}")
        mr.auto_merge, mr.auto_merge_by = how | {"sha": mr.sha}, call.user.id
    else:
        await merge(call.forge, project, mr, call.user, **how)
    return await full(call.forge, project, mr, call.actor)


@routes.post(BASE + "/cancel_merge_when_pipeline_succeeds", DEVELOPER)
async def cancel(call: Call) -> Any:
    mr = merge_request_of(call)
    if mr.auto_merge is None:
        raise ApiError(406, "Can't cancel the automatic merge")
    mr.auto_merge = mr.auto_merge_by = None
    call.project.merge_train.pop(mr.iid, None)
    return {"status": "success"}


@routes.get(BASE + "/merge_ref", REPORTER)
async def merge_ref(call: Call) -> Any:
    project, mr = call.project, merge_request_of(call)
    status = await detailed_status(call.forge, project, mr)
    repository = call.forge.repository(project)
    target = await repository.branch(mr.target_branch)
    if status in TRANSITIONAL or not target or not mr.sha:
        raise ApiError(400, "Merge ref is not ready")
    try:
        tree = await repository.merged_tree(target, mr.sha)
    except MergeConflict:
        raise ApiError(400, "Merge request is not mergeable") from None
    by = Signature(name=call.user.name, email=call.user.email)
    text = f"Merge {mr.sha} into {target}"
    commit = await repository.commit_tree(tree, [target, mr.sha], text, by)
    await repository.git("update-ref", f"refs/merge-requests/{mr.iid}/merge", commit)
    return {"commit_id": commit}


@routes.put(BASE + "/rebase", DEVELOPER)
async def rebase_now(call: Call) -> Any:
    await rebase(call.forge, call.project, merge_request_of(call), call.user)
    return Reply({"rebase_in_progress": True}, 202)
