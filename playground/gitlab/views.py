"""GitLab's JSON for what many resources show: people, projects, commits."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from playground.gitlab.git_repo import Commit, FileDiff
from playground.gitlab.records import (
    PROJECT_SETTINGS,
    Group,
    Label,
    Member,
    Milestone,
    Project,
    User,
    Variable,
)

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge

Json = dict[str, Any]


def when(moment: datetime | None) -> str | None:
    return (
        moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
        if (moment)
        else None
    )


def moment_of(git_date: str) -> str:
    """git's strict ISO date, as GitLab prints the dates of commits."""
    return git_date[:19] + ".000" + git_date[19:].replace("Z", "+00:00")


def user(forge: Forge, person: User | None) -> Json | None:
    if person is None:
        return None
    return {
        "id": person.id,
        "username": person.username,
        "public_email": person.profile.get("public_email", ""),
        "name": person.name,
        "state": person.state,
        "locked": False,
        "avatar_url": person.profile.get("avatar_url"),
        "web_url": f"{forge.url}/{person.username}",
    }


def user_by_id(forge: Forge, user_id: int | None) -> Json | None:
    return user(forge, forge.state.users.get(user_id)) if user_id else None


def member(forge: Forge, entry: Member) -> Json:
    return (user_by_id(forge, entry.user_id) or {}) | {
        "access_level": entry.access_level,
        "created_at": when(entry.created_at),
        "created_by": user_by_id(forge, entry.created_by),
        "expires_at": entry.expires_at,
        "membership_state": "active",
    }


def namespace(forge: Forge, namespace_id: int) -> Json:
    group = forge.state.groups.get(namespace_id)
    path = forge.state.namespace_path(namespace_id)
    if group is None:
        owner = next(u for u in forge.state.users.values() if u.namespace_id == namespace_id)
        name, web = owner.name, f"{forge.url}/{path}"
    else:
        name, web = group.name, f"{forge.url}/groups/{path}"
    return {
        "id": namespace_id,
        "name": name,
        "path": path.rsplit("/", 1)[-1],
        "kind": "group" if group else "user",
        "full_path": path,
        "parent_id": group.parent_id if group else None,
        "avatar_url": None,
        "web_url": web,
    }


def project_identity(forge: Forge, project: Project) -> Json:
    space = namespace(forge, project.namespace_id)
    return {
        "id": project.id,
        "description": project.description,
        "name": project.name,
        "name_with_namespace": f"{space['name']} / {project.name}",
        "path": project.path,
        "path_with_namespace": forge.state.full_path(project),
        "created_at": when(project.created_at),
    }


def project_basic(forge: Forge, project: Project) -> Json:
    web = forge.web_url(project)
    forks = [p for p in forge.state.projects.values() if p.forked_from == project.id]
    host = forge.url.partition("://")[2].partition(":")[0]
    return project_identity(forge, project) | {
        "default_branch": project.default_branch if forge.has_commits(project) else None,
        "tag_list": project.settings.get("topics", []),
        "topics": project.settings.get("topics", []),
        "ssh_url_to_repo": f"git@{host}:{forge.state.full_path(project)}.git",
        "http_url_to_repo": f"{web}.git",
        "web_url": web,
        "readme_url": f"{web}/-/blob/{project.default_branch}/README.md",
        "forks_count": len(forks),
        "avatar_url": project.setting("avatar_url"),
        "star_count": len(project.stars),
        "last_activity_at": when(project.updated_at),
        "visibility": project.visibility,
        "namespace": namespace(forge, project.namespace_id),
    }


def project(forge: Forge, record: Project, viewer: User | None) -> Json:
    creator = forge.state.users.get(record.creator_id)
    web = forge.web_url(record)
    parent = forge.state.projects.get(record.forked_from or 0)
    links = f"{forge.url}/api/v4/projects/{record.id}"
    names = ("issues", "merge_requests", "labels", "events", "members")
    shown = project_basic(forge, record) | {
        "_links": {"self": links} | {name: f"{links}/{name}" for name in names},
        "empty_repo": not forge.has_commits(record),
        "archived": record.archived,
        "can_create_merge_request_in": forge.state.access(record, viewer) >= 30,
        "creator_id": record.creator_id,
        "import_status": "none",
        "open_issues_count": sum(i.state == "opened" for i in record.issues.values()),
        "updated_at": when(record.updated_at),
        "shared_with_groups": [],
        "marked_for_deletion_at": None,
        "marked_for_deletion_on": None,
        "container_registry_image_prefix": web.partition("://")[2],
    }
    if forge.state.groups.get(record.namespace_id) is None:
        shown["owner"] = user(forge, creator)
    if parent:
        shown["forked_from_project"] = project_basic(forge, parent)
    for name, value in PROJECT_SETTINGS.items():
        shown[name] = record.settings.get(name, value)
    return shown


def project_with_access(forge: Forge, record: Project, viewer: User | None) -> Json:
    def level(found: Member | None) -> Json | None:
        return {"access_level": found.access_level, "notification_level": 3} if found else None

    own = record.members.get(viewer.id) if viewer else None
    everyone = forge.state.inherited(record)
    group = everyone.get(viewer.id) if viewer and own is None else None
    if own is None and viewer and record.namespace_id == viewer.namespace_id:
        own = Member(user_id=viewer.id, access_level=50, created_at=record.created_at)
    return project(forge, record, viewer) | {
        "permissions": {"project_access": level(own), "group_access": level(group)}
    }


def group(forge: Forge, record: Group) -> Json:
    path = forge.state.namespace_path(record.id)
    names = [place.name for place in forge.state.lineage(record.id)]
    return {
        "id": record.id,
        "web_url": f"{forge.url}/groups/{path}",
        "name": record.name,
        "path": record.path,
        "description": record.description,
        "visibility": record.visibility,
        "avatar_url": record.settings.get("avatar_url"),
        "request_access_enabled": True,
        "full_name": " / ".join(reversed(names)),
        "full_path": path,
        "created_at": when(record.created_at),
        "parent_id": record.parent_id,
        "marked_for_deletion_on": None,
    }


def commit(forge: Forge, project: Project, record: Commit) -> Json:
    return {
        "id": record.id,
        "short_id": record.id[:8],
        "created_at": moment_of(record.committed),
        "parent_ids": list(record.parents),
        "title": record.title,
        "message": record.message,
        "author_name": record.author,
        "author_email": record.author_email,
        "authored_date": moment_of(record.authored),
        "committer_name": record.committer,
        "committer_email": record.committer_email,
        "committed_date": moment_of(record.committed),
        "trailers": {},
        "extended_trailers": {},
        "web_url": f"{forge.web_url(project)}/-/commit/{record.id}",
    }


def diff(record: FileDiff) -> Json:
    return {
        "diff": record.patch,
        "new_path": record.new_path,
        "old_path": record.old_path,
        "a_mode": record.old_mode,
        "b_mode": record.new_mode,
        "new_file": record.status == "A",
        "renamed_file": record.status == "R",
        "deleted_file": record.status == "D",
        "generated_file": False,
        "collapsed": False,
        "too_large": False,
    }


def label(record: Label, viewer: User | None = None) -> Json:
    return {
        "id": record.id,
        "name": record.name,
        "description": record.description,
        "description_html": record.description or "",
        "text_color": "#FFFFFF",
        "color": record.color,
        "archived": False,
        "subscribed": bool(viewer and viewer.id in record.subscribers),
        "priority": record.priority,
        "is_project_label": True,
    }


def milestone(forge: Forge, record: Milestone | None, web: str) -> Json | None:
    if record is None:
        return None
    shown = {
        "id": record.id,
        "iid": record.iid,
        "title": record.title,
        "description": record.description,
        "state": record.state,
        "created_at": when(record.created_at),
        "updated_at": when(record.updated_at),
        "due_date": record.due_date,
        "start_date": record.start_date,
        "expired": bool(record.due_date and record.due_date < forge.state.now().date().isoformat()),
        "web_url": f"{web}/-/milestones/{record.iid}",
    }
    place = "group_id" if record.group_id else "project_id"
    return shown | {place: record.group_id or record.project_id}


def variable(record: Variable) -> Json:
    return {
        "variable_type": record.variable_type,
        "key": record.key,
        "value": None if record.hidden else record.value,
        "hidden": record.hidden,
        "protected": record.protected,
        "masked": record.masked,
        "raw": record.raw,
        "environment_scope": record.environment_scope,
        "description": record.description,
    }
