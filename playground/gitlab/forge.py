"""What holds the instance together: state, repositories, pipelines and hooks."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

from agent.ports import Sandbox
from playground.gitlab import closing, git_http, payloads
from playground.gitlab.auth import Auth
from playground.gitlab.git_repo import ZERO, Repository, run_git
from playground.gitlab.pipelines import Pipelines
from playground.gitlab.records import MergeRequest, Project, User
from playground.gitlab.runner import Image
from playground.gitlab.state import State
from playground.gitlab.webhooks import Webhooks


class Forge:
    """`sandbox` runs the jobs; without one they wait for ever, as without a runner. `image` gives
    the read-only folders that stand for a job's container image."""

    def __init__(
        self, folder: Path, *, sandbox: Sandbox | None = None, image: Image | None = None
    ) -> None:
        self.folder = folder
        self.url = ""
        self.state = State()
        self.auth = Auth(self.state)
        self.webhooks = Webhooks(self)
        self.pipelines = Pipelines(self, sandbox, image)
        self._nonempty: set[int] = set()
        self._locks: dict[int, asyncio.Lock] = {}

    # --- repositories

    def repository(self, project: Project) -> Repository:
        return Repository(self.folder / "repositories" / f"{project.id}.git")

    def lock(self, project: Project) -> asyncio.Lock:
        """Held while a branch of the project is moved on behalf of the API."""
        return self._locks.setdefault(project.id, asyncio.Lock())

    def has_commits(self, project: Project) -> bool:
        if project.id not in self._nonempty:
            path = self.repository(project).path
            packed = path / "packed-refs"
            loose = any(item.is_file() for item in (path / "refs" / "heads").rglob("*"))
            if loose or (packed.exists() and "refs/heads/" in packed.read_text()):
                self._nonempty.add(project.id)
        return project.id in self._nonempty

    def web_url(self, project: Project) -> str:
        return f"{self.url}/{self.state.full_path(project)}"

    async def create_repository(self, project: Project, source: Path | None = None) -> None:
        """Empty, or with the branches and tags of a repository on disk."""
        path = self.repository(project).path
        path.parent.mkdir(parents=True, exist_ok=True)
        for command in git_http.new_repository(path, self.folder / "hooks", project.default_branch):
            await run_git(*command)
        if source is not None:
            specs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
            await Repository(path).git("fetch", "--quiet", str(source), *specs)

    async def remove_project(self, project: Project) -> None:
        await self.pipelines.cancel_all(project)
        self.state.projects.pop(project.id, None)
        await asyncio.to_thread(shutil.rmtree, self.repository(project).path, True)

    # --- what follows from a push, however it came

    async def pushed(
        self,
        project: Project,
        user: User,
        changes: Sequence[tuple[str, str, str]],
        options: Sequence[str] = (),
    ) -> None:
        """`changes` are old SHA, new SHA and full ref."""
        project.updated_at = self.state.now()
        for old, new, ref in changes:
            if ref.startswith("refs/tags/"):
                await self._tag_pushed(project, user, old, new, ref[10:], options)
            elif ref.startswith("refs/heads/"):
                await self._branch_pushed(project, user, old, new, ref[11:], options)
        self.state.publish("push", project)

    async def _tag_pushed(
        self, project: Project, user: User, old: str, new: str, tag: str, options: Sequence[str]
    ) -> None:
        payload = await payloads.push(self, project, user, old, new, f"refs/tags/{tag}")
        self.webhooks.fire(project, "tag_push_events", payload)
        sha = None if new == ZERO else await self.repository(project).resolve(new)
        if sha and "ci.skip" not in options:
            await self.pipelines.on_push(project, user, tag, sha, old, tag=True, skip=False)

    async def _branch_pushed(
        self, project: Project, user: User, old: str, new: str, branch: str, options: Sequence[str]
    ) -> None:
        first = not project.pushed_at and old == ZERO and not project.protected_branches
        project.pushed_at[branch] = self.state.monotonic()
        if first:
            await self._first_branch(project, branch)
        payload = await payloads.push(self, project, user, old, new, f"refs/heads/{branch}")
        self.webhooks.fire(project, "push_events", payload, branch=branch)
        moved = await self._merge_requests_moved(project, user, branch, old, new)
        if new == ZERO:
            return
        if branch == project.default_branch:
            await closing.close_by_commits(self, project, user, old, new)
        skip = "ci.skip" in options
        await self.pipelines.on_push(project, user, branch, new, old, tag=False, skip=skip)
        for merge_request in moved:
            await self.pipelines.on_merge_request(project, user, merge_request, skip=skip)

    async def _first_branch(self, project: Project, branch: str) -> None:
        """GitLab makes the first branch the default one and protects it."""
        heads = await self.repository(project).refs("heads")
        if project.default_branch not in heads:
            project.default_branch = branch
            await self.repository(project).git("symbolic-ref", "HEAD", f"refs/heads/{branch}")
        if branch == project.default_branch:
            self.state.protect(project, branch)

    async def _merge_requests_moved(
        self, project: Project, user: User, branch: str, old: str, new: str
    ) -> list[MergeRequest]:
        """Open merge requests follow their branches; returns those whose source moved."""
        moved: list[MergeRequest] = []
        for target in self.state.projects.values():
            for merge_request in tuple(target.merge_requests.values()):  # more may come meanwhile
                if merge_request.state != "opened":
                    continue
                source = merge_request.source_project_id == project.id
                if source and merge_request.source_branch == branch:
                    merge_request.source_gone = new == ZERO
                    merge_request.sha = merge_request.sha if new == ZERO else new
                    merge_request.updated_at = self.state.now()
                    merge_request.checking_since = self.state.monotonic()
                    if new != ZERO:
                        await self.keep_head(project, target, merge_request)
                        moved.append(merge_request)
                        self._new_commits(target, user, merge_request)
                elif target is project and merge_request.target_branch == branch and new != ZERO:
                    merge_request.checking_since = self.state.monotonic()
                    await self._merged_by_push(project, user, merge_request, old, new)
        return moved

    async def keep_head(self, source: Project, target: Project, mr: MergeRequest) -> None:
        """The commits of a merge request outlive its branch, and come along from a fork."""
        if mr.sha is None:
            return
        repository = self.repository(target)
        if source is not target:
            await repository.git("fetch", "--quiet", str(self.repository(source).path), mr.sha)
        await repository.git("update-ref", f"refs/merge-requests/{mr.iid}/head", mr.sha)

    def _new_commits(self, target: Project, user: User, merge_request: MergeRequest) -> None:
        if target.setting("reset_approvals_on_push"):
            merge_request.approved_by.clear()
        payload = payloads.merge_request(self, target, merge_request, user, "update")
        self.webhooks.fire(target, "merge_requests_events", payload)
        self.state.publish("merge_request", target, merge_request.iid)

    async def _merged_by_push(
        self, project: Project, user: User, merge_request: MergeRequest, old: str, new: str
    ) -> None:
        repository = self.repository(project)
        if merge_request.sha and await repository.is_ancestor(merge_request.sha, new):
            base = await repository.merge_base(merge_request.sha, old)
            merge_request.base_sha = merge_request.base_sha or base
            merge_request.merge_commit_sha = new
            self.mark_merged(project, user, merge_request)

    def mark_merged(self, project: Project, user: User, merge_request: MergeRequest) -> None:
        merge_request.state = "merged"
        merge_request.merged_by = user.id
        merge_request.merged_at = merge_request.updated_at = self.state.now()
        merge_request.auto_merge = None
        payload = payloads.merge_request(self, project, merge_request, user, "merge")
        self.webhooks.fire(project, "merge_requests_events", payload)
        self.state.publish("merge_request", project, merge_request.iid)
