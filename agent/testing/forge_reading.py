"""The reading half of the GitLab in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal

from agent.errors import NotFound
from agent.pipeline import Job, Pipeline
from agent.ports import (
    Deployment,
    Discussion,
    ForgeCommit,
    ForgeRules,
    ForgeUser,
    Member,
    MergeRequest,
    Origin,
    Project,
)
from agent.run import CommitSha, Linked
from agent.testing.forge_state import ForgeState
from agent.testreport import TestReport

_DIFFERENCE = b"diff --git a/app.py b/app.py\n--- a/app.py\n+++ b/app.py\n@@ -1 +1 @@\n-1\n+2\n"


class Reading(ForgeState):
    async def project(self, path: str) -> Project:
        self.begin("project")
        if path != self.path:
            raise NotFound(f"There is no project {path}.", status=404)
        return Project(
            id=1,
            path=path,
            default_branch=self.branch,
            clone_url=self.clone_url,
            web_url=f"https://gitlab.example/{path}",
        )

    def origin(self, project: Project) -> Origin:
        return Origin(url=project.clone_url)

    async def access(self, project: str, user_id: int) -> int:
        self.begin("access")
        return self.members.get(user_id, 0)

    async def project_members(self, project: str) -> Sequence[Member]:
        self.begin("project_members")
        listed = [Member(id=i, username=f"user{i}", access=a) for i, a in self.members.items()]
        return sorted(listed, key=lambda member: -member.access)

    async def group_access(self, group: str, user_id: int) -> int:
        self.begin("group_access")
        return self.groups.get(group, {}).get(user_id, 0)

    async def username(self, user_id: int) -> str:
        return f"user{user_id}"

    async def user(self, user_id: int) -> ForgeUser:
        """Anybody who is not in `users` is an ordinary person."""
        self.begin("user")
        if user_id in self.users:
            return self.users[user_id]
        return ForgeUser(
            id=user_id,
            username=f"user{user_id}",
            name=f"User {user_id}",
            active=True,
            bot=user_id == self.own,
        )

    async def merge_requests(self, project: str, source_branch: str) -> Sequence[MergeRequest]:
        self.begin("merge_requests")
        return [r for r in reversed(self.requests) if r.source_branch == source_branch]

    async def merge_requests_of(
        self, project: str, author: int, *, since: datetime, most: int
    ) -> Sequence[MergeRequest]:
        """Whenever they were changed."""
        self.begin("merge_requests_of")
        return [r for r in reversed(self.requests) if r.author_id == author][:most]

    async def branch_names(self, project: str, prefix: str, *, most: int) -> Sequence[str]:
        self.begin("branch_names")
        return [name for name in self.branches if name.startswith(prefix)][:most]

    async def merge_request(self, project: str, iid: int) -> MergeRequest:
        self.begin("merge_request")
        said = [c for d in self.talk.get(iid, ()) for c in d.comments if not c.system]
        return replace(self.wanted(iid), comments=len(said))

    async def difference(self, project: str, iid: int) -> bytes:
        self.begin("difference")
        self.wanted(iid)
        return self.differences.get(iid, _DIFFERENCE)

    async def commits(self, project: str, iid: int) -> Sequence[ForgeCommit]:
        """One of nobody in particular, unless `contents` says more."""
        self.begin("commits")
        request = self.wanted(iid)
        if iid in self.contents or request.sha is None:
            return self.contents.get(iid, [])
        made = ForgeCommit(
            sha=request.sha, title=request.title, names=frozenset(), emails=frozenset()
        )
        return [made]

    async def merge_rules(self, project: str, iid: int, target: str) -> ForgeRules:
        self.begin("merge_rules")
        return self.rules.get(target, ForgeRules())

    async def approvers(self, project: str, iid: int) -> Sequence[str]:
        self.begin("approvers")
        self.wanted(iid)
        return self.approved.get(iid, [])

    async def deploy_rules(self, project: str, environment: str) -> ForgeRules:
        self.begin("deploy_rules")
        return self.rules.get(environment, ForgeRules())

    async def deployment(
        self, project: str, environment: str, commit: CommitSha
    ) -> Deployment | None:
        self.begin("deployment")
        wanted = (environment, commit)
        return next((d for d in self.deployments if (d.environment, d.commit) == wanted), None)

    async def linked(
        self, project: str, kind: Literal["issue", "merge_request"], iid: int
    ) -> Linked:
        if (kind, iid) not in self.links:
            raise NotFound(f"There is no {kind} {iid}.", status=404)
        return self.links[kind, iid]

    async def has_note(
        self, project: str, kind: Literal["issue", "merge_request"], iid: int, marker: str
    ) -> bool:
        self.begin("has_note")
        return any(n[:2] == (kind, iid) and marker in n[2] for n in self.notes)

    async def discussions(self, project: str, iid: int) -> Sequence[Discussion]:
        self.begin("discussions")
        return list(self.talk.get(iid, ()))

    async def pipelines(self, project: str, *, sha: CommitSha) -> Sequence[Pipeline]:
        self.begin("pipelines")
        return [line for line in self.lines if line.sha == sha]

    async def branch_pipeline(self, project: str, branch: str) -> Pipeline | None:
        self.begin("branch_pipeline")
        done = ("success", "failed")
        return next((p for p in self.lines if p.ref == branch and p.status in done), None)

    async def job(self, project: str, job: int) -> Job:
        self.begin("job")
        for line in self.lines:
            for each in line.jobs:
                if each.id == job:
                    return each
        raise NotFound(f"There is no job {job}.", status=404)

    async def job_log(self, project: str, job: int, sink: Callable[[bytes], None]) -> None:
        self.begin("job_log")
        if job not in self.logs:
            raise NotFound(f"Job {job} has no log.", status=404)
        sink(self.logs[job])

    async def pipeline_tests(self, project: str, pipeline: int) -> TestReport | None:
        self.begin("pipeline_tests")
        return self.tests.get(pipeline)

    async def ci_script(self, project: str, commit: CommitSha, job: str) -> tuple[str, ...]:
        self.begin("ci_script")
        return self.scripts.get(job, ())
