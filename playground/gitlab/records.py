"""What the stand-in remembers, beside the git repositories on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from playground.gitlab.ci_records import Deployment, Environment, Pipeline
from playground.gitlab.ci_records import Job as Job
from playground.gitlab.talk_records import Discussed as Discussed
from playground.gitlab.talk_records import Discussion as Discussion
from playground.gitlab.talk_records import Issuable as Issuable
from playground.gitlab.talk_records import Issue as Issue
from playground.gitlab.talk_records import MergeRequest as MergeRequest
from playground.gitlab.talk_records import Note as Note
from playground.gitlab.talk_records import TrainCar as TrainCar

GUEST, REPORTER, DEVELOPER, MAINTAINER, OWNER = 10, 20, 30, 40, 50

#: settings that may be changed, and what they are on a new project
PROJECT_SETTINGS: dict[str, Any] = {
    "merge_method": "merge",
    "merge_pipelines_enabled": False,
    "merge_trains_enabled": False,
    "squash_option": "default_off",
    "only_allow_merge_if_pipeline_succeeds": False,
    "allow_merge_on_skipped_pipeline": None,
    "only_allow_merge_if_all_discussions_are_resolved": False,
    "remove_source_branch_after_merge": True,
    "printing_merge_request_link_enabled": True,
    "autoclose_referenced_issues": True,
    "request_access_enabled": True,
    "shared_runners_enabled": True,
    "lfs_enabled": True,
    "packages_enabled": True,
    "container_registry_enabled": True,
    "issues_enabled": True,
    "merge_requests_enabled": True,
    "wiki_enabled": True,
    "jobs_enabled": True,
    "snippets_enabled": True,
    "ci_config_path": None,
    "ci_default_git_depth": 20,
    "build_timeout": 3600,
    "auto_cancel_pending_pipelines": "enabled",
    "public_jobs": True,
    "suggestion_commit_message": None,
    "merge_commit_template": None,
    "squash_commit_template": None,
    "approvals_before_merge": 0,
    "mirror": False,
}


#: the same, but the project's JSON does not show them
HIDDEN_SETTINGS: dict[str, Any] = {"require_sha_for_merge": False, "reset_approvals_on_push": True}


@dataclass(kw_only=True)
class User:
    id: int
    username: str
    name: str
    email: str
    namespace_id: int
    created_at: datetime
    admin: bool = False
    bot: bool = False
    state: str = "active"
    keys: dict[int, dict[str, Any]] = field(default_factory=dict)
    profile: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class Token:
    id: int
    user_id: int
    name: str
    secret: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: date | None = None
    revoked: bool = False
    last_used_at: datetime | None = None
    project_id: int | None = None  #: project access tokens belong to one project
    access_level: int = 0
    application: str = ""  #: an application's access token; it works as a bearer's only
    ends_at: datetime | None = None


@dataclass(kw_only=True)
class Member:
    user_id: int
    access_level: int
    created_at: datetime
    created_by: int | None = None
    expires_at: str | None = None


@dataclass(kw_only=True)
class Group:
    id: int
    name: str
    path: str
    created_at: datetime
    parent_id: int | None = None
    visibility: str = "private"
    description: str = ""
    members: dict[int, Member] = field(default_factory=dict)
    labels: dict[int, Label] = field(default_factory=dict)
    milestones: dict[int, Milestone] = field(default_factory=dict)
    variables: list[Variable] = field(default_factory=list)
    shared_with: dict[int, int] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class Label:
    id: int
    name: str
    color: str
    description: str | None = None
    priority: int | None = None
    subscribers: set[int] = field(default_factory=set)


@dataclass(kw_only=True)
class Milestone:
    id: int
    iid: int
    title: str
    created_at: datetime
    updated_at: datetime
    project_id: int | None = None
    group_id: int | None = None
    description: str | None = None
    state: str = "active"
    due_date: str | None = None
    start_date: str | None = None


@dataclass(kw_only=True)
class Variable:
    key: str
    value: str
    variable_type: str = "env_var"
    protected: bool = False
    masked: bool = False
    hidden: bool = False
    raw: bool = False
    environment_scope: str = "*"
    description: str | None = None


@dataclass(kw_only=True)
class Grant:
    """One line of who may push, merge, unprotect or deploy."""

    id: int
    access_level: int | None = None
    user_id: int | None = None
    group_id: int | None = None


@dataclass(kw_only=True)
class ProtectedBranch:
    id: int
    name: str  #: may hold `*`
    push: list[Grant]
    merge: list[Grant]
    unprotect: list[Grant] = field(default_factory=list)
    allow_force_push: bool = False
    code_owner_approval_required: bool = False


@dataclass(kw_only=True)
class ProtectedEnvironment:
    name: str
    deploy: list[Grant]
    required_approvals: int = 0


@dataclass(kw_only=True)
class Hook:
    id: int
    url: str
    created_at: datetime
    events: dict[str, bool]
    options: dict[str, Any] = field(default_factory=dict)
    token: str = field(default="", repr=False)
    signing_token: str = field(default="", repr=False)
    failures: int = 0  #: in a row
    disabled_until: datetime | None = None
    disabled: bool = False
    log: list[dict[str, Any]] = field(default_factory=list)


@dataclass(kw_only=True)
class Project:
    id: int
    name: str
    path: str
    namespace_id: int
    creator_id: int
    created_at: datetime
    updated_at: datetime
    description: str | None = None
    visibility: str = "private"
    default_branch: str = "main"
    archived: bool = False
    former_paths: set[str] = field(default_factory=set)  #: with namespace
    forked_from: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    stars: set[int] = field(default_factory=set)
    members: dict[int, Member] = field(default_factory=dict)
    labels: dict[int, Label] = field(default_factory=dict)
    milestones: dict[int, Milestone] = field(default_factory=dict)
    hooks: dict[int, Hook] = field(default_factory=dict)
    variables: list[Variable] = field(default_factory=list)
    triggers: dict[int, dict[str, Any]] = field(default_factory=dict)
    deploy_keys: dict[int, dict[str, Any]] = field(default_factory=dict)
    protected_branches: dict[str, ProtectedBranch] = field(default_factory=dict)
    protected_environments: dict[str, ProtectedEnvironment] = field(default_factory=dict)
    issues: dict[int, Issue] = field(default_factory=dict)
    merge_requests: dict[int, MergeRequest] = field(default_factory=dict)
    merge_train: dict[int, TrainCar] = field(default_factory=dict)  #: by iid, in order
    pipelines: dict[int, Pipeline] = field(default_factory=dict)
    environments: dict[int, Environment] = field(default_factory=dict)
    deployments: dict[int, Deployment] = field(default_factory=dict)
    commits: dict[str, Discussed] = field(default_factory=dict)
    #: branch -> when it last came in, on the monotonic clock
    pushed_at: dict[str, float] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)

    def setting(self, name: str) -> Any:
        return self.settings.get(name, {**PROJECT_SETTINGS, **HIDDEN_SETTINGS}.get(name))

    def next_iid(self, kind: str) -> int:
        self.counters[kind] = self.counters.get(kind, 0) + 1
        return self.counters[kind]
