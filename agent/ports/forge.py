"""GitLab: what is read from it, and what is changed there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from agent.outside import Place
from agent.pipeline import Job, Pipeline
from agent.ports.git import Origin
from agent.run import CommitSha, Linked
from agent.testreport import TestReport


@dataclass(frozen=True, kw_only=True)
class Project:
    id: int
    path: str  #: with namespace
    default_branch: str | None  #: None: the repository is empty
    clone_url: str
    web_url: str
    archived: bool = False  #: nothing can be pushed to it


@dataclass(frozen=True, kw_only=True)
class MergeRequest:
    project: str
    iid: int
    url: str
    title: str
    description: str
    state: Literal["opened", "closed", "merged", "locked"]
    draft: bool
    source_branch: str
    target_branch: str
    sha: CommitSha | None
    author_id: int | None
    project_id: int = 0
    detailed_status: str = ""  #: GitLab's word for whether and why it cannot be merged now
    merged: CommitSha | None = None  #: what the target branch got: merge, squash or fast-forward
    merged_by: int | None = None
    merges_itself: bool = False  #: GitLab was told to merge it once its checks have passed
    comments: int = 0  #: of people, without GitLab's own
    target_changed: bool = False  #: its difference is still being worked out by GitLab
    compared: str = ""  #: the commits that its difference is between; empty: GitLab does not tell
    pipeline: Pipeline | None = None  #: the newest of its head, without jobs; not in lists


@dataclass(frozen=True, kw_only=True)
class ForgeUser:
    id: int
    username: str
    name: str
    active: bool
    bot: bool
    external: bool = False
    emails: frozenset[str] = frozenset()  #: as far as GitLab shows them, in lower case


@dataclass(frozen=True, kw_only=True)
class Member:
    id: int
    username: str
    access: int


@dataclass(frozen=True, kw_only=True)
class ForgeCommit:
    sha: CommitSha
    title: str
    names: frozenset[str]  #: of author and committer
    emails: frozenset[str]  #: of author and committer, in lower case
    askers: frozenset[str] = frozenset()  #: on whose request an agent made it, by its own message


@dataclass(frozen=True, kw_only=True)
class ForgeRules:
    """What GitLab itself asks for before it merges or deploys: shown, and never worked around."""

    sentences: tuple[str, ...] = ()
    approvals_left: int = 0


@dataclass(frozen=True, kw_only=True)
class Protection:
    """What GitLab lets people do with a branch past everything that is settled here."""

    protected: bool
    developers_push: bool
    developers_merge: bool


@dataclass(frozen=True, kw_only=True)
class Deployment:
    id: int
    environment: str
    commit: CommitSha
    status: str  #: GitLab's own word
    job: int | None
    url: str = ""  #: of the environment


@dataclass(frozen=True, kw_only=True)
class Comment:
    id: int
    author_id: int
    author: str  #: username
    text: str
    at: datetime
    system: bool = False  #: written by GitLab itself: "changed the title"
    path: str = ""  #: of the file that it is about
    line: int | None = None


@dataclass(frozen=True, kw_only=True)
class Discussion:
    """Of a merge request. A comment outside of the change cannot be resolved."""

    id: str
    comments: tuple[Comment, ...]
    resolvable: bool = False
    resolved: bool = False


class ForgeReader(Protocol):
    """Reads GitLab, live. Raises `ForgeUnavailable`, `ForgeRejected`, `NotFound`."""

    async def project(self, path: str) -> Project: ...

    async def access(self, project: str, user_id: int) -> int:
        """Access level of the person in the project, inherited ones too; 0 for none."""
        ...

    async def username(self, user_id: int) -> str: ...

    async def merge_requests(self, project: str, source_branch: str) -> Sequence[MergeRequest]:
        """Newest first, in every state."""
        ...

    async def merge_requests_of(
        self, project: str, author: int, *, since: datetime, most: int
    ) -> Sequence[MergeRequest]:
        """One user's that were changed since then, in every state, the newest change first."""
        ...

    async def branch_names(self, project: str, prefix: str, *, most: int) -> Sequence[str]:
        """Those that begin so; the branch that was pushed to last first."""
        ...

    async def merge_request(self, project: str, iid: int) -> MergeRequest:
        """As it is at this moment."""
        ...

    async def difference(self, project: str, iid: int) -> bytes:
        """The whole unified diff of a merge request, as GitLab shows it. Raises `ForgeRejected`
        where it is too large to be shown in one piece."""
        ...

    async def commits(self, project: str, iid: int) -> Sequence[ForgeCommit]:
        """All commits of a merge request."""
        ...

    async def user(self, user_id: int) -> ForgeUser: ...

    async def project_members(self, project: str) -> Sequence[Member]:
        """The first hundred active ones, inherited ones too, who may do the most first."""
        ...

    async def group_access(self, group: str, user_id: int) -> int:
        """Access level in a group, inherited ones too; 0 for none."""
        ...

    async def merge_rules(self, project: str, iid: int, target: str) -> ForgeRules:
        """Protection of the target branch, and approvals that GitLab asks for."""
        ...

    async def approvers(self, project: str, iid: int) -> Sequence[str]:
        """Usernames of who has approved the merge request in GitLab."""
        ...

    async def deploy_rules(self, project: str, environment: str) -> ForgeRules: ...

    async def deployment(
        self, project: str, environment: str, commit: CommitSha
    ) -> Deployment | None:
        """The newest one of a commit."""
        ...

    async def linked(
        self, project: str, kind: Literal["issue", "merge_request"], iid: int
    ) -> Linked: ...

    async def has_note(
        self, project: str, kind: Literal["issue", "merge_request"], iid: int, marker: str
    ) -> bool:
        """Whether one of the newest hundred notes carries the marker."""
        ...

    async def discussions(self, project: str, iid: int) -> Sequence[Discussion]:
        """All of a merge request, oldest first; those that only a team may read are left out."""
        ...

    async def pipelines(self, project: str, *, sha: CommitSha) -> Sequence[Pipeline]:
        """Pipelines of exactly this commit, newest first, with their jobs and with what other
        systems reported for it; detached and merged-result ones, too."""
        ...

    async def branch_pipeline(self, project: str, branch: str) -> Pipeline | None:
        """The newest finished pipeline of a branch, with its jobs."""
        ...

    async def job(self, project: str, job: int) -> Job: ...

    async def job_log(self, project: str, job: int, sink: Callable[[bytes], None]) -> None:
        """Streams the whole log in pieces; nothing of it is kept in memory here."""
        ...

    async def pipeline_tests(self, project: str, pipeline: int) -> TestReport | None:
        """What the pipeline's JUnit reports say; None when it has none."""
        ...

    async def ci_script(self, project: str, commit: CommitSha, job: str) -> tuple[str, ...]:
        """The job's own commands (before_script, script), as GitLab's merged configuration has
        them; empty when they cannot be had."""
        ...

    def origin(self, project: Project) -> Origin:
        """With this reader's own credential."""
        ...


class OutsideLogs(Protocol):
    """Logs of jobs that other CI systems have reported to GitLab."""

    async def read(
        self, url: str, prefixes: Sequence[Place], sink: Callable[[bytes], None]
    ) -> None:
        """Streams the whole log as text, from below one of the prefixes. Raises `LogUnreadable`,
        also when only a part of it came."""
        ...


class ForgeWriter(Protocol):
    """Changes GitLab. Never repeats by itself: who calls reads back first."""

    def origin(self, project: Project) -> Origin: ...

    async def me(self) -> int:
        """Id of the user whom the credential belongs to."""
        ...

    async def open_merge_request(
        self, project: str, *, source: str, target: str, title: str, description: str
    ) -> MergeRequest:
        """A draft when its title says so. Raises `Conflict` when one stands for the branch
        already."""
        ...

    async def mark_ready(self, project: str, iid: int) -> None:
        """Takes "Draft:" from the title."""
        ...

    async def merge(self, project: str, iid: int, commit: CommitSha) -> MergeRequest:
        """Asks once for a merge at exactly this head. What is given back may still be open: a
        merge train takes it, or GitLab does it later. Raises `Conflict` (409: another head),
        `ForgeRejected` with GitLab's status (400, 401, 403, 405, 406, 422), and
        `ForgeUnavailable` where nobody knows whether it was done."""
        ...

    async def create_branch(self, project: str, branch: str, start: str) -> CommitSha:
        """Raises `Conflict` when it is there already."""
        ...

    async def revert(self, project: str, commit: CommitSha, branch: str) -> CommitSha:
        """The commit on the branch that takes this one back. Raises `ForgeRejected` (400) where
        it cannot be taken back without a conflict."""
        ...

    async def play_job(self, project: str, job: int) -> Job:
        """Starts a manual job. Raises `ForgeRejected` (400: not playable, 403: not allowed)."""
        ...

    async def update_merge_request(
        self, project: str, iid: int, *, description: str, title: str | None = None
    ) -> None:
        """None: the title stays."""
        ...

    async def note(
        self, project: str, kind: Literal["issue", "merge_request"], iid: int, text: str
    ) -> None: ...

    async def reply(self, project: str, iid: int, discussion: str, text: str) -> None: ...

    async def resolve(self, project: str, iid: int, discussion: str) -> None: ...

    async def assign(self, project: str, iid: int, user_id: int) -> None:
        """Makes the person the merge request's only assignee."""
        ...

    async def retry_job(self, project: str, job: int) -> Job:
        """The new job. Raises `ForgeRejected` when this one cannot be run again."""
        ...
