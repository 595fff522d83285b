"""GitLab's JSON of merge requests, and what it computes for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playground.gitlab import views
from playground.gitlab.ci_records import Pipeline
from playground.gitlab.git_repo import MergeConflict
from playground.gitlab.pipeline_views import pipeline_basic, pipeline_full
from playground.gitlab.records import Issuable, MergeRequest, Project, User
from playground.gitlab.views import Json, when

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge

TRANSITIONAL = ("preparing", "unchecked", "checking", "approvals_syncing")


async def base_of(forge: Forge, project: Project, mr: MergeRequest) -> str | None:
    """Where source and target parted."""
    if mr.base_sha or mr.sha is None:
        return mr.base_sha
    repository = forge.repository(project)
    target = await repository.branch(mr.target_branch)
    return await repository.merge_base(target, mr.sha) if target else None


def head_pipeline(forge: Forge, project: Project, mr: MergeRequest) -> Pipeline | None:
    source = forge.state.projects.get(mr.source_project_id, project)
    found = [p for p in project.pipelines.values() if p.merge_request_iid == mr.iid]
    found += [
        p
        for p in source.pipelines.values()
        if p.ref == mr.source_branch and not p.tag and p.merge_request_iid is None
    ]
    mine = [p for p in found if p.sha == mr.sha]
    return max(mine, key=lambda p: p.id) if mine else None


async def conflicts(forge: Forge, project: Project, mr: MergeRequest) -> bool:
    repository = forge.repository(project)
    target = await repository.branch(mr.target_branch)
    if target is None or mr.sha is None:
        return True
    try:
        await repository.merged_tree(target, mr.sha)
    except MergeConflict:
        return True
    return False


def approvals_needed(project: Project, mr: MergeRequest) -> int:
    if mr.approvals_required is not None:
        return mr.approvals_required
    return int(project.setting("approvals_before_merge") or 0)


def approved(project: Project, mr: MergeRequest) -> bool:
    return len(mr.approved_by) >= approvals_needed(project, mr)


async def detailed_status(forge: Forge, project: Project, mr: MergeRequest) -> str:
    if mr.state != "opened":
        return "not_open"
    lags, since = forge.state.lags, mr.checking_since
    if forge.state.younger(since, lags.merge_check / 3):
        return "preparing"
    if forge.state.younger(since, lags.merge_check):
        return "checking"
    if forge.state.younger(since, lags.merge_check + lags.approvals):
        return "approvals_syncing"
    if mr.sha is None or mr.source_gone:
        return "commits_status"
    if mr.draft:
        return "draft_status"
    if await conflicts(forge, project, mr):
        return "conflict"
    if mr.held_by:
        return mr.held_by
    pipeline = head_pipeline(forge, project, mr)
    if project.setting("only_allow_merge_if_pipeline_succeeds"):
        passed = pipeline and pipeline.status == "success"
        if pipeline and pipeline.status == "skipped":
            passed = project.setting("allow_merge_on_skipped_pipeline")
        if not passed:
            running = pipeline and pipeline.status in ("created", "pending", "running")
            return "ci_still_running" if running else "ci_must_pass"
    settled = all(d.resolved for d in mr.discussions if d.resolvable)
    if project.setting("only_allow_merge_if_all_discussions_are_resolved") and not settled:
        return "discussions_not_resolved"
    if not approved(project, mr):
        return "not_approved"
    if project.setting("merge_method") in ("ff", "rebase_merge"):
        target = await forge.repository(project).branch(mr.target_branch)
        if target and not await forge.repository(project).is_ancestor(target, mr.sha):
            return "need_rebase"
    return "mergeable"


def issuable(forge: Forge, project: Project, item: Issuable, sign: str, place: str) -> Json:
    """What issues and merge requests have in common."""
    path = forge.state.full_path(project)
    assignees = [views.user_by_id(forge, number) for number in item.assignee_ids]
    boxes = re.findall(r"^\s*[-*+] \[([ xX])\]", item.description or "", re.MULTILINE)
    milestones = [m for m in (project.milestones.get(item.milestone_id or 0),) if m]
    for group in forge.state.lineage(project.namespace_id):
        milestones += [m for m in (group.milestones.get(item.milestone_id or 0),) if m]
    return {
        "id": item.id,
        "iid": item.iid,
        "project_id": project.id,
        "title": item.title,
        "description": item.description,
        "state": item.state,
        "created_at": when(item.created_at),
        "updated_at": when(item.updated_at),
        "closed_at": when(item.closed_at),
        "closed_by": views.user_by_id(forge, item.closed_by),
        "labels": sorted(item.labels),
        "milestone": views.milestone(
            forge, milestones[0] if milestones else None, forge.web_url(project)
        ),
        "author": views.user_by_id(forge, item.author_id),
        "assignee": assignees[0] if assignees else None,
        "assignees": assignees,
        "user_notes_count": sum(not note.system for note in item.notes),
        "upvotes": sum(e["name"] == "thumbsup" for e in item.emoji.values()),
        "downvotes": sum(e["name"] == "thumbsdown" for e in item.emoji.values()),
        "discussion_locked": item.discussion_locked,
        "web_url": f"{forge.web_url(project)}/-/{place}/{item.iid}",
        "references": {
            "short": f"{sign}{item.iid}",
            "relative": f"{sign}{item.iid}",
            "full": f"{path}{sign}{item.iid}",
        },
        "time_stats": {
            "time_estimate": 0,
            "total_time_spent": 0,
            "human_time_estimate": None,
            "human_total_time_spent": None,
        },
        "task_completion_status": {
            "count": len(boxes),
            "completed_count": sum(box in "xX" for box in boxes),
        },
    }


async def basic(forge: Forge, project: Project, mr: MergeRequest) -> Json:
    status = await detailed_status(forge, project, mr)
    conflict = status == "conflict"
    merge_status = "can_be_merged"
    if status in TRANSITIONAL:
        merge_status = {"checking": "checking", "preparing": "preparing"}.get(status, "unchecked")
    elif conflict or mr.sha is None:
        merge_status = "cannot_be_merged"
    return issuable(forge, project, mr, "!", "merge_requests") | {
        "source_branch": mr.source_branch,
        "target_branch": mr.target_branch,
        "source_project_id": mr.source_project_id,
        "target_project_id": project.id,
        "reviewers": [views.user_by_id(forge, number) for number in mr.reviewer_ids],
        "merged_by": views.user_by_id(forge, mr.merged_by),
        "merge_user": views.user_by_id(forge, mr.merged_by or mr.auto_merge_by),
        "merged_at": when(mr.merged_at),
        "draft": mr.draft,
        "imported": False,
        "imported_from": "none",
        "work_in_progress": mr.draft,
        "merge_when_pipeline_succeeds": mr.auto_merge is not None,
        "merge_status": merge_status,
        "detailed_merge_status": status,
        "merge_after": None,
        "sha": mr.sha,
        "merge_commit_sha": mr.merge_commit_sha,
        "squash_commit_sha": mr.squash_commit_sha,
        "should_remove_source_branch": mr.should_remove_source_branch,
        "force_remove_source_branch": mr.remove_source_branch,
        "prepared_at": None if status == "preparing" else when(mr.created_at),
        "reference": f"!{mr.iid}",
        "squash": mr.squash,
        "squash_on_merge": mr.squash or project.setting("squash_option") == "always",
        "has_conflicts": conflict,
        "blocking_discussions_resolved": all(d.resolved for d in mr.discussions if d.resolvable),
        "approvals_before_merge": None,
    }


async def full(forge: Forge, project: Project, mr: MergeRequest, viewer: User | None) -> Json:
    shown = await basic(forge, project, mr)
    base = await base_of(forge, project, mr)
    pipeline = head_pipeline(forge, project, mr)
    files = await forge.repository(project).diff(base, mr.sha) if base and mr.sha else []
    refs = {"base_sha": base, "head_sha": mr.sha, "start_sha": base} if mr.sha else None
    return shown | {
        "subscribed": bool(viewer and viewer.id in (mr.author_id, *mr.subscribers)),
        "changes_count": str(len(files)) if files else None,
        "latest_build_started_at": when(pipeline.started_at) if pipeline else None,
        "latest_build_finished_at": when(pipeline.finished_at) if pipeline else None,
        "first_deployed_to_production_at": None,
        "pipeline": pipeline_basic(forge, project, pipeline) if pipeline else None,
        "head_pipeline": pipeline_full(forge, project, pipeline) if pipeline else None,
        "diff_refs": refs,
        "merge_error": mr.merge_error,
        "first_contribution": False,
        "user": {"can_merge": forge.state.may_merge(project, viewer, mr.target_branch)},
    }
