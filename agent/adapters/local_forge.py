"""A repository of this machine in the place of GitLab: a branch is all that can be left there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from agent.adapters.git_remote import branch_names, default_branch
from agent.errors import NotFound, Refused
from agent.pipeline import Job, Pipeline
from agent.ports import (
    Deployment,
    Discussion,
    ForgeCommit,
    ForgeRules,
    ForgeUser,
    MergeRequest,
    Origin,
    Project,
)
from agent.run import CommitSha, Linked
from agent.testreport import TestReport

_OWNER = 50
_NO_PIPELINES = "A local repository has no pipelines."
_NO_GITLAB = "A local repository has no issues or merge requests; the branch is the result."


class LocalForge:
    """Implements `agent.ports.ForgeReader` and `ForgeWriter`. A project is named by its path."""

    async def project(self, path: str) -> Project:
        found = Path(path)
        if not found.is_absolute() or not found.is_dir():
            raise NotFound(f"There is no repository at {path}.", status=404)
        branch = await default_branch(self._origin(path))
        return Project(id=0, path=path, default_branch=branch, clone_url=path, web_url="")

    def origin(self, project: Project) -> Origin:
        return self._origin(project.path)

    def _origin(self, path: str) -> Origin:
        return Origin(url=path)

    async def access(self, project: str, user_id: int) -> int:
        """Whoever may run the command owns what it works on."""
        return _OWNER

    async def username(self, user_id: int) -> str:
        return ""

    async def me(self) -> int:
        return 0

    async def merge_requests(self, project: str, source_branch: str) -> Sequence[MergeRequest]:
        return ()

    async def merge_requests_of(
        self, project: str, author: int, *, since: datetime, most: int
    ) -> Sequence[MergeRequest]:
        return ()

    async def branch_names(self, project: str, prefix: str, *, most: int) -> Sequence[str]:
        names = await branch_names(self._origin(project))
        return [name for name in names if name.startswith(prefix)][:most]

    async def merge_request(self, project: str, iid: int) -> MergeRequest:
        raise NotFound(_NO_GITLAB, status=404)

    async def difference(self, project: str, iid: int) -> bytes:
        raise NotFound(_NO_GITLAB, status=404)

    async def commits(self, project: str, iid: int) -> Sequence[ForgeCommit]:
        raise NotFound(_NO_GITLAB, status=404)

    async def discussions(self, project: str, iid: int) -> Sequence[Discussion]:
        raise NotFound(_NO_GITLAB, status=404)

    async def user(self, user_id: int) -> ForgeUser:
        raise NotFound(_NO_GITLAB, status=404)

    async def group_access(self, group: str, user_id: int) -> int:
        return 0

    async def merge_rules(self, project: str, iid: int, target: str) -> ForgeRules:
        return ForgeRules()

    async def approvers(self, project: str, iid: int) -> Sequence[str]:
        return ()

    async def deploy_rules(self, project: str, environment: str) -> ForgeRules:
        return ForgeRules()

    async def deployment(
        self, project: str, environment: str, commit: CommitSha
    ) -> Deployment | None:
        return None

    async def linked(
        self, project: str, kind: Literal["issue", "merge_request"], iid: int
    ) -> Linked:
        raise NotFound(_NO_GITLAB, status=404)

    async def has_note(
        self, project: str, kind: Literal["issue", "merge_request"], iid: int, marker: str
    ) -> bool:
        return False

    async def pipelines(self, project: str, *, sha: CommitSha) -> Sequence[Pipeline]:
        return ()

    async def branch_pipeline(self, project: str, branch: str) -> Pipeline | None:
        return None

    async def job(self, project: str, job: int) -> Job:
        raise NotFound(_NO_PIPELINES, status=404)

    async def job_log(self, project: str, job: int, sink: Callable[[bytes], None]) -> None:
        raise NotFound(_NO_PIPELINES, status=404)

    async def pipeline_tests(self, project: str, pipeline: int) -> TestReport | None:
        return None

    async def ci_script(self, project: str, commit: CommitSha, job: str) -> tuple[str, ...]:
        return ()

    async def retry_job(self, project: str, job: int) -> Job:
        raise Refused(_NO_PIPELINES)

    async def open_merge_request(
        self, project: str, *, source: str, target: str, title: str, description: str
    ) -> MergeRequest:
        raise Refused(_NO_GITLAB)

    async def update_merge_request(
        self, project: str, iid: int, *, description: str, title: str | None = None
    ) -> None:
        raise Refused(_NO_GITLAB)

    async def note(
        self, project: str, kind: Literal["issue", "merge_request"], iid: int, text: str
    ) -> None:
        raise Refused(_NO_GITLAB)

    async def mark_ready(self, project: str, iid: int) -> None:
        raise Refused(_NO_GITLAB)

    async def merge(self, project: str, iid: int, commit: CommitSha) -> MergeRequest:
        raise Refused(_NO_GITLAB)

    async def create_branch(self, project: str, branch: str, start: str) -> CommitSha:
        raise Refused(_NO_GITLAB)

    async def revert(self, project: str, commit: CommitSha, branch: str) -> CommitSha:
        raise Refused(_NO_GITLAB)

    async def play_job(self, project: str, job: int) -> Job:
        raise Refused(_NO_PIPELINES)

    async def reply(self, project: str, iid: int, discussion: str, text: str) -> None:
        raise Refused(_NO_GITLAB)

    async def resolve(self, project: str, iid: int, discussion: str) -> None:
        raise Refused(_NO_GITLAB)

    async def assign(self, project: str, iid: int, user_id: int) -> None:
        raise Refused(_NO_GITLAB)
