"""What webhooks carry, in GitLab's shape."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from playground.gitlab.git_repo import ZERO
from playground.gitlab.records import Issue, MergeRequest, Note, Project, User
from playground.gitlab.views import moment_of

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge

Json = dict[str, Any]


def utc(moment: datetime | None) -> str | None:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC") if moment else None


def user(person: User | None) -> Json | None:
    if person is None:
        return None
    return {
        "id": person.id,
        "name": person.name,
        "username": person.username,
        "avatar_url": None,
        "email": "[REDACTED]",
    }


def project(forge: Forge, record: Project) -> Json:
    web = forge.web_url(record)
    path = forge.state.full_path(record)
    return {
        "id": record.id,
        "name": record.name,
        "description": record.description or "",
        "web_url": web,
        "avatar_url": None,
        "git_ssh_url": f"git@localhost:{path}.git",
        "git_http_url": f"{web}.git",
        "namespace": path.rsplit("/", 1)[0],
        "visibility_level": {"private": 0, "internal": 10, "public": 20}[record.visibility],
        "path_with_namespace": path,
        "default_branch": record.default_branch,
        "ci_config_path": record.setting("ci_config_path"),
        "homepage": web,
        "url": f"git@localhost:{path}.git",
        "ssh_url": f"git@localhost:{path}.git",
        "http_url": f"{web}.git",
    }


async def push(forge: Forge, record: Project, by: User, old: str, new: str, ref: str) -> Json:
    git = forge.repository(record)
    commits: list[Json] = []
    total = 0
    tag = ref.startswith("refs/tags/")
    if new != ZERO and not tag:
        span = [new, f"^{old}"] if old != ZERO else [new, "--not", "--exclude=" + ref, "--branches"]
        found = await git.log(*(["-20"] if old == ZERO else []), *span, "--")
        total = len(found)
        for commit in reversed(found[:20]):
            parent = commit.parents[0] if commit.parents else None
            files = await git.diff(parent, commit.id) if parent else []
            commits.append(
                {
                    "id": commit.id,
                    "message": commit.message,
                    "title": commit.title,
                    "timestamp": moment_of(commit.committed).replace(".000", ""),
                    "url": f"{forge.web_url(record)}/-/commit/{commit.id}",
                    "author": {"name": commit.author, "email": commit.author_email},
                    "added": [f.new_path for f in files if f.status == "A"],
                    "modified": [f.new_path for f in files if f.status in "MRT"],
                    "removed": [f.old_path for f in files if f.status == "D"],
                }
            )
    return {
        "object_kind": "tag_push" if tag else "push",
        "event_name": "tag_push" if tag else "push",
        "before": old,
        "after": new,
        "ref": ref,
        "ref_protected": bool(not tag and forge.state.protection(record, ref[11:])),
        "checkout_sha": None if new == ZERO else new,
        "message": None,
        "user_id": by.id,
        "user_name": by.name,
        "user_username": by.username,
        "user_email": "",
        "user_avatar": None,
        "project_id": record.id,
        "project": project(forge, record),
        "commits": commits,
        "total_commits_count": total,
        "push_options": {},
        "repository": repository(forge, record),
    }


def repository(forge: Forge, record: Project) -> Json:
    full = project(forge, record)
    names = ("name", "url", "description", "homepage", "git_http_url", "git_ssh_url")
    return {name: full[name] for name in names} | {"visibility_level": full["visibility_level"]}


def merge_request_attributes(forge: Forge, record: Project, mr: MergeRequest) -> Json:
    return {
        "id": mr.id,
        "iid": mr.iid,
        "title": mr.title,
        "description": mr.description,
        "state": mr.state,
        "draft": mr.draft,
        "work_in_progress": mr.draft,
        "created_at": utc(mr.created_at),
        "updated_at": utc(mr.updated_at),
        "author_id": mr.author_id,
        "assignee_id": mr.assignee_ids[0] if mr.assignee_ids else None,
        "assignee_ids": mr.assignee_ids,
        "reviewer_ids": mr.reviewer_ids,
        "source_branch": mr.source_branch,
        "target_branch": mr.target_branch,
        "source_project_id": mr.source_project_id,
        "target_project_id": record.id,
        "merge_commit_sha": mr.merge_commit_sha,
        "merge_error": mr.merge_error,
        "merge_user_id": mr.merged_by,
        "merge_when_pipeline_succeeds": mr.auto_merge is not None,
        "merge_status": "can_be_merged" if mr.sha else "cannot_be_merged",
        "detailed_merge_status": "draft_status" if mr.draft else "mergeable",
        "milestone_id": mr.milestone_id,
        "last_commit": {"id": mr.sha} if mr.sha else None,
        "source": project(forge, forge.state.projects.get(mr.source_project_id) or record),
        "target": project(forge, record),
        "url": f"{forge.web_url(record)}/-/merge_requests/{mr.iid}",
        "labels": [],
        "blocking_discussions_resolved": all(d.resolved for d in mr.discussions if d.resolvable),
    }


def merge_request(forge: Forge, record: Project, mr: MergeRequest, by: User, action: str) -> Json:
    attributes = merge_request_attributes(forge, record, mr)
    return {
        "object_kind": "merge_request",
        "event_type": "merge_request",
        "user": user(by),
        "project": project(forge, record),
        "object_attributes": attributes | {"action": action},
        "labels": [],
        "changes": {},
        "repository": repository(forge, record),
    }


def issue_attributes(forge: Forge, record: Project, item: Issue) -> Json:
    return {
        "id": item.id,
        "iid": item.iid,
        "title": item.title,
        "description": item.description,
        "state": item.state,
        "author_id": item.author_id,
        "assignee_ids": item.assignee_ids,
        "project_id": record.id,
        "confidential": item.confidential,
        "created_at": utc(item.created_at),
        "updated_at": utc(item.updated_at),
        "url": f"{forge.web_url(record)}/-/issues/{item.iid}",
    }


def issue(forge: Forge, record: Project, item: Issue, by: User, action: str) -> Json:
    return {
        "object_kind": "issue",
        "event_type": "issue",
        "user": user(by),
        "project": project(forge, record),
        "object_attributes": issue_attributes(forge, record, item) | {"action": action},
        "labels": [],
        "changes": {},
        "repository": repository(forge, record),
    }


def note(forge: Forge, record: Project, on: Issue | MergeRequest, written: Note) -> Json:
    kind = "MergeRequest" if isinstance(on, MergeRequest) else "Issue"
    place = "merge_requests" if isinstance(on, MergeRequest) else "issues"
    shown: Json = {
        "object_kind": "note",
        "event_type": "note",
        "user": user(forge.state.users.get(written.author_id)),
        "project_id": record.id,
        "project": project(forge, record),
        "repository": repository(forge, record),
        "object_attributes": {
            "id": written.id,
            "note": written.body,
            "noteable_type": kind,
            "noteable_id": on.id,
            "author_id": written.author_id,
            "project_id": record.id,
            "system": written.system,
            "created_at": utc(written.created_at),
            "updated_at": utc(written.updated_at),
            "action": "create",
            "url": f"{forge.web_url(record)}/-/{place}/{on.iid}#note_{written.id}",
        },
    }
    if isinstance(on, MergeRequest):
        return shown | {"merge_request": merge_request_attributes(forge, record, on)}
    return shown | {"issue": issue_attributes(forge, record, on)}
