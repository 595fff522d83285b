"""What the stand-in remembers of issues, merge requests and what is said on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(kw_only=True)
class Note:
    id: int
    body: str
    author_id: int
    created_at: datetime
    updated_at: datetime
    system: bool = False
    resolvable: bool = False
    resolved_by: int | None = None
    resolved_at: datetime | None = None
    position: dict[str, Any] | None = None
    internal: bool = False
    emoji: dict[int, dict[str, Any]] = field(default_factory=dict)
    commands: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class Discussion:
    id: str
    notes: list[Note]
    individual: bool = False

    @property
    def resolvable(self) -> bool:
        return any(note.resolvable for note in self.notes)

    @property
    def resolved(self) -> bool:
        return all(note.resolved_at for note in self.notes if note.resolvable)


@dataclass(kw_only=True)
class Discussed:
    """Anything that people talk on: issues, merge requests, commits."""

    discussions: list[Discussion] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def notes(self) -> list[Note]:
        return [note for discussion in self.discussions for note in discussion.notes]


@dataclass(kw_only=True)
class Issuable(Discussed):
    """What issues and merge requests have in common."""

    id: int
    iid: int
    project_id: int
    title: str
    author_id: int
    created_at: datetime
    updated_at: datetime
    description: str = ""
    state: str = "opened"
    labels: list[str] = field(default_factory=list)
    assignee_ids: list[int] = field(default_factory=list)
    milestone_id: int | None = None
    closed_by: int | None = None
    closed_at: datetime | None = None
    emoji: dict[int, dict[str, Any]] = field(default_factory=dict)
    subscribers: set[int] = field(default_factory=set)
    discussion_locked: bool | None = None


@dataclass(kw_only=True)
class Issue(Issuable):
    confidential: bool = False
    due_date: str | None = None
    weight: int | None = None
    issue_type: str = "issue"
    links: dict[int, tuple[int, int, str]] = field(default_factory=dict)
    #: link id -> (project id, issue iid, kind)


@dataclass(kw_only=True)
class MergeRequest(Issuable):
    source_project_id: int
    source_branch: str
    target_branch: str
    sha: str | None
    #: when the check of mergeability began, on the monotonic clock
    checking_since: float
    source_gone: bool = False  #: the source branch was deleted
    base_sha: str | None = None  #: frozen when it was merged or closed
    reviewer_ids: list[int] = field(default_factory=list)
    approved_by: dict[int, datetime] = field(default_factory=dict)
    approvals_required: int | None = None
    squash: bool = False
    remove_source_branch: bool | None = None
    should_remove_source_branch: bool | None = None
    allow_collaboration: bool = False
    merged_by: int | None = None
    merged_at: datetime | None = None
    merge_commit_sha: str | None = None
    squash_commit_sha: str | None = None
    merge_error: str | None = None
    auto_merge: dict[str, Any] | None = None
    auto_merge_by: int | None = None
    held_by: str = ""  #: a `detailed_merge_status` on order

    @property
    def draft(self) -> bool:
        return self.title.lower().startswith(("draft:", "[draft]", "(draft)"))


@dataclass(kw_only=True)
class TrainCar:
    """A merge request's place in the merge train of its target branch."""

    id: int
    iid: int  #: of the merge request
    user_id: int
    target_branch: str
    created_at: datetime
    updated_at: datetime
    status: str = "idle"
    merged_at: datetime | None = None
