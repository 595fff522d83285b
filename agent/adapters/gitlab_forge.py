"""GitLab's REST API through python-gitlab, one credential an object."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from typing import Literal
from urllib.parse import quote

from agent.adapters import gitlab_changes as changes
from agent.adapters import gitlab_merged as merges
from agent.adapters import gitlab_merging as merging
from agent.adapters import gitlab_own as own
from agent.adapters import gitlab_people as people
from agent.adapters import gitlab_pipelines as pipelines
from agent.adapters import gitlab_reviews as reviews
from agent.adapters import gitlab_rules as rules
from agent.adapters.gitlab_client import GitLabClient
from agent.adapters.gitlab_log import stream
from agent.adapters.gitlab_payloads import integer, merge_request, record, records, text
from agent.adapters.read_again import read_again
from agent.errors import ForgeRejected, NotFound
from agent.pipeline import Job, Pipeline
from agent.ports import (
    Deployment,
    Discussion,
    ForgeCommit,
    ForgeRules,
    ForgeUser,
    Member,
    MergeRequest,
    Project,
    Protection,
)
from agent.retrieval.merges import Page
from agent.run import CommitSha, Linked
from agent.testreport import TestReport

_PATHS = {"issue": "issues", "merge_request": "merge_requests"}


class GitLabReader(GitLabClient):
    """Implements `agent.ports.ForgeReader` and `agent.retrieval.merges.Forge`; open it with
    `async with`."""

    scope = "read_api"

    def __init__(self, url: str, token: str, *, token_name: str = "GITLAB_READ_TOKEN") -> None:
        super().__init__(url, token, token_name=token_name)

    async def project(self, path: str) -> Project:
        found = record(await self._get(_project(path)))
        return Project(
            id=integer(found, "id"),
            path=text(found, "path_with_namespace"),
            default_branch=None
            if found.get("empty_repo")
            else text(found, "default_branch") or None,
            clone_url=text(found, "http_url_to_repo"),
            web_url=text(found, "web_url"),
            archived=found.get("archived") is True,
        )

    async def access(self, project: str, user_id: int) -> int:
        return await self._level(_project(project), user_id)

    async def group_access(self, group: str, user_id: int) -> int:
        return await self._level(f"/groups/{_segment(group)}", user_id)

    async def user(self, user_id: int) -> ForgeUser:
        return people.user(record(await self._get(f"/users/{user_id}")), self.host)

    async def project_members(self, project: str) -> Sequence[Member]:
        found = await self._get(f"{_project(project)}/members/all", per_page=100)
        active = [each for each in records(found) if text(each, "state") == "active"]
        members = [
            Member(
                id=integer(each, "id"),
                username=text(each, "username"),
                access=integer(each, "access_level"),
            )
            for each in active
        ]
        return sorted(members, key=lambda member: -member.access)

    async def username(self, user_id: int) -> str:
        return text(record(await self._get(f"/users/{user_id}")), "username")

    async def merge_requests(self, project: str, source_branch: str) -> Sequence[MergeRequest]:
        found = await self._get(
            f"{_project(project)}/merge_requests",
            source_branch=source_branch,
            state="all",
            order_by="created_at",
            sort="desc",
            per_page=20,
        )
        return [merge_request(project, item) for item in records(found)]

    async def merge_requests_of(
        self, project: str, author: int, *, since: datetime, most: int
    ) -> Sequence[MergeRequest]:
        found = await own.merge_requests(self._get, _project(project), author, since, most)
        return [merge_request(project, each) for each in found]

    async def branch_names(self, project: str, prefix: str, *, most: int) -> Sequence[str]:
        return await own.branches(self._get, _project(project), prefix, most)

    async def merge_request(self, project: str, iid: int) -> MergeRequest:
        found = await self._get(f"{_project(project)}/merge_requests/{iid}")
        return merge_request(project, record(found))

    def merged(self, project: str, *, since: datetime | None, most: int) -> AsyncGenerator[Page]:
        return merges.merged(self._get, _project(project), since=since, most=most)

    async def closed_issues(self, project: str, iid: int) -> Sequence[str]:
        return await merges.closed_issues(self._get, _merge_request(project, iid))

    async def merged_paths(self, project: str, iid: int, most: int) -> Sequence[str]:
        return await merges.merged_paths(self._get, _merge_request(project, iid), most)

    @read_again
    async def difference(self, project: str, iid: int) -> bytes:
        path = _merge_request(project, iid)
        gathered = changes.Gathered()
        try:
            await self._call(lambda gitlab: stream(gitlab, f"{path}/raw_diffs", gathered.add))
        except ForgeRejected as refusal:
            if refusal.status is None or refusal.status in (401, 403):
                raise
            return await changes.difference(self._get, path)
        return gathered.whole()

    async def commits(self, project: str, iid: int) -> Sequence[ForgeCommit]:
        return await changes.commits(self._get, _merge_request(project, iid))

    async def merge_rules(self, project: str, iid: int, target: str) -> ForgeRules:
        return await rules.of_merge(self._get, _project(project), iid, target)

    async def approvers(self, project: str, iid: int) -> Sequence[str]:
        found = record(await self._get(f"{_merge_request(project, iid)}/approvals"))
        given = records(found.get("approved_by") or [])
        return [text(record(each.get("user")), "username") for each in given]

    async def deploy_rules(self, project: str, environment: str) -> ForgeRules:
        return await rules.of_deploy(self._get, _project(project), environment)

    async def protection(self, project: str, branch: str) -> Protection:
        """Raises `NotFound` where there is no such branch."""
        return await rules.protection(self._get, _project(project), branch)

    async def has_environment(self, project: str, name: str) -> bool:
        return await rules.has_environment(self._get, _project(project), name)

    async def deployment(
        self, project: str, environment: str, commit: CommitSha
    ) -> Deployment | None:
        return await merging.deployment(self._get, _project(project), environment, commit)

    async def linked(
        self, project: str, kind: Literal["issue", "merge_request"], iid: int
    ) -> Linked:
        found = record(await self._get(f"{_project(project)}/{_PATHS[kind]}/{iid}"))
        return Linked(
            kind=kind,
            iid=iid,
            url=text(found, "web_url"),
            title=text(found, "title"),
            text=text(found, "description"),
        )

    async def has_note(
        self, project: str, kind: Literal["issue", "merge_request"], iid: int, marker: str
    ) -> bool:
        found = await self._get(
            f"{_project(project)}/{_PATHS[kind]}/{iid}/notes",
            order_by="created_at",
            sort="desc",
            per_page=100,
        )
        return any(marker in text(item, "body") for item in records(found))

    async def discussions(self, project: str, iid: int) -> Sequence[Discussion]:
        return await reviews.discussions(self._get, _merge_request(project, iid))

    async def pipelines(self, project: str, *, sha: CommitSha) -> Sequence[Pipeline]:
        return await pipelines.of_commit(self._get, _project(project), sha)

    async def branch_pipeline(self, project: str, branch: str) -> Pipeline | None:
        return await pipelines.of_branch(self._get, _project(project), branch)

    async def job(self, project: str, job: int) -> Job:
        return pipelines.job(record(await self._get(f"{_project(project)}/jobs/{job}")))

    async def job_log(self, project: str, job: int, sink: Callable[[bytes], None]) -> None:
        path = f"{_project(project)}/jobs/{job}/trace"
        await self._call(lambda gitlab: stream(gitlab, path, sink))

    async def pipeline_tests(self, project: str, pipeline: int) -> TestReport | None:
        return await pipelines.tests(self._get, _project(project), pipeline)

    async def ci_script(self, project: str, commit: CommitSha, job: str) -> tuple[str, ...]:
        return await pipelines.script(self._get, _project(project), commit, job)

    async def _level(self, place: str, user_id: int) -> int:
        try:
            member = record(await self._get(f"{place}/members/all/{user_id}"))
        except NotFound:
            return 0
        return integer(member, "access_level") if member.get("state", "active") == "active" else 0


class GitLabWriter(GitLabClient):
    """Implements `agent.ports.ForgeWriter`; open it with `async with`."""

    scope = "api"

    def __init__(self, url: str, token: str, *, token_name: str = "GITLAB_TOKEN") -> None:
        super().__init__(url, token, token_name=token_name)

    async def open_merge_request(
        self, project: str, *, source: str, target: str, title: str, description: str
    ) -> MergeRequest:
        data = {
            "source_branch": source,
            "target_branch": target,
            "title": title,
            "description": description,
        }
        made = await self._post(f"{_project(project)}/merge_requests", data)
        return merge_request(project, record(made))

    async def mark_ready(self, project: str, iid: int) -> None:
        await merging.mark_ready(self._get, self._put, _merge_request(project, iid))

    async def merge(self, project: str, iid: int, commit: CommitSha) -> MergeRequest:
        path = _merge_request(project, iid)
        return await merging.merge(self._put, project, path, commit, token_name=self.token_name)

    async def create_branch(self, project: str, branch: str, start: str) -> CommitSha:
        return await merging.create_branch(self._post, _project(project), branch, start)

    async def revert(self, project: str, commit: CommitSha, branch: str) -> CommitSha:
        return await merging.revert(self._post, _project(project), commit, branch)

    async def play_job(self, project: str, job: int) -> Job:
        return await merging.play(self._post, _project(project), job)

    async def update_merge_request(
        self, project: str, iid: int, *, description: str, title: str | None = None
    ) -> None:
        data = {"description": description} | ({"title": title} if title else {})
        await self._put(_merge_request(project, iid), data)

    async def note(
        self, project: str, kind: Literal["issue", "merge_request"], iid: int, text: str
    ) -> None:
        await self._post(f"{_project(project)}/{_PATHS[kind]}/{iid}/notes", {"body": text})

    async def reply(self, project: str, iid: int, discussion: str, text: str) -> None:
        path = f"{_merge_request(project, iid)}/discussions/{_segment(discussion)}/notes"
        await self._post(path, {"body": text})

    async def resolve(self, project: str, iid: int, discussion: str) -> None:
        path = f"{_merge_request(project, iid)}/discussions/{_segment(discussion)}"
        await self._put(path, {"resolved": True})

    async def assign(self, project: str, iid: int, user_id: int) -> None:
        await self._put(_merge_request(project, iid), {"assignee_id": user_id})

    async def retry_job(self, project: str, job: int) -> Job:
        made = await self._post(f"{_project(project)}/jobs/{job}/retry", {})
        return pipelines.job(record(made))


def _project(path: str) -> str:
    return f"/projects/{_segment(path)}"


def _merge_request(project: str, iid: int) -> str:
    return f"{_project(project)}/merge_requests/{iid}"


def _segment(name: str) -> str:
    return quote(name, safe="")
