"""A GitLab in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from agent.errors import Conflict, ForgeRejected
from agent.pipeline import Job
from agent.ports import Comment, MergeRequest
from agent.run import CommitSha
from agent.testing.forge_reading import Reading
from agent.testing.forge_state import Fault, sha

__all__ = ["FakeForge", "Fault"]


class FakeForge(Reading):
    """Implements `agent.ports.ForgeReader` and `ForgeWriter`: one project whose code is at a path.
    Its knobs are the fields of `ForgeState`."""

    async def me(self) -> int:
        return self.own

    async def open_merge_request(
        self, project: str, *, source: str, target: str, title: str, description: str
    ) -> MergeRequest:
        after = self.begin("open_merge_request")
        if any(r.source_branch == source and r.state == "opened" for r in self.requests):
            raise Conflict("Another open merge request already exists.", status=409)
        iid = len(self.requests) + 1
        draft = title.startswith("Draft:")
        made = MergeRequest(
            project=project,
            iid=iid,
            url=f"https://gitlab.example/{project}/-/merge_requests/{iid}",
            title=title,
            description=description,
            state="opened",
            draft=draft,
            source_branch=source,
            target_branch=target,
            sha=self.branches.get(source),
            author_id=self.own,
            project_id=1,
            detailed_status="draft_status" if draft else "mergeable",
        )
        self.requests.append(made)
        if after:
            raise after
        return made

    async def mark_ready(self, project: str, iid: int) -> None:
        after = self.begin("mark_ready")
        request = self.wanted(iid)
        waits = request.detailed_status == "draft_status"
        self.change(
            iid,
            title=request.title.removeprefix("Draft:").strip(),
            draft=False,
            detailed_status="mergeable" if waits else request.detailed_status,
        )
        if after:
            raise after

    async def merge(self, project: str, iid: int, commit: CommitSha) -> MergeRequest:
        """GitLab's answers in GitLab's order. `detailed_status` decides, empty as "mergeable"."""
        after = self.begin("merge")
        request = self.wanted(iid)
        if not self.may_merge:
            raise ForgeRejected("401 Unauthorized", status=401)
        if request.detailed_status == "conflict":
            raise ForgeRejected("Branch cannot be merged", status=422)
        ready = request.detailed_status in ("", "mergeable")
        if request.state != "opened" or request.draft or not ready:
            raise ForgeRejected("405 Method Not Allowed", status=405)
        if request.sha != commit:
            raise Conflict(f"SHA does not match HEAD of source branch: {request.sha}", status=409)
        if not self.merges_later:
            request = self.land(iid)
        if after:
            raise after
        return request

    async def create_branch(self, project: str, branch: str, start: str) -> CommitSha:
        after = self.begin("create_branch")
        if branch in self.branches:
            raise Conflict("Branch already exists", status=400)
        self.branches[branch] = self.branches.get(start, CommitSha(start))
        if after:
            raise after
        return self.branches[branch]

    async def revert(self, project: str, commit: CommitSha, branch: str) -> CommitSha:
        after = self.begin("revert")
        if branch not in self.branches:
            raise ForgeRejected(f"The branch '{branch}' does not exist", status=400)
        self.branches[branch] = sha(f"revert {commit} on {self.branches[branch]}")
        if after:
            raise after
        return self.branches[branch]

    async def play_job(self, project: str, job: int) -> Job:
        after = self.begin("play_job")
        old = await self.job(project, job)
        if old.status != "manual":
            raise ForgeRejected("400 Bad request - Unplayable Job", status=400)
        if not self.may_play:
            raise ForgeRejected("403 Forbidden", status=403)
        new = replace(old, status="pending")
        self._put(old, new)
        if after:
            raise after
        return new

    async def update_merge_request(
        self, project: str, iid: int, *, description: str, title: str | None = None
    ) -> None:
        after = self.begin("update_merge_request")
        self.change(iid, description=description, title=title or self.wanted(iid).title)
        if after:
            raise after

    async def note(
        self, project: str, kind: Literal["issue", "merge_request"], iid: int, text: str
    ) -> None:
        after = self.begin("note")
        self.notes.append((kind, iid, text))
        if after:
            raise after

    async def reply(self, project: str, iid: int, discussion: str, text: str) -> None:
        after = self.begin("reply")
        number = 1 + max(c.id for d in self.talk[iid] for c in d.comments)
        said = Comment(
            id=number,
            author_id=self.own,
            author="journeyman",
            text=text,
            at=datetime(2030, 1, 1, tzinfo=UTC),
        )
        self.talk[iid] = [
            replace(d, comments=(*d.comments, said)) if d.id == discussion else d
            for d in self.talk[iid]
        ]
        if after:
            raise after

    async def resolve(self, project: str, iid: int, discussion: str) -> None:
        after = self.begin("resolve")
        self.talk[iid] = [
            replace(d, resolved=True) if d.id == discussion else d for d in self.talk[iid]
        ]
        if after:
            raise after

    async def assign(self, project: str, iid: int, user_id: int) -> None:
        after = self.begin("assign")
        self.assigned[iid] = user_id
        if after:
            raise after

    async def retry_job(self, project: str, job: int) -> Job:
        """The job in its pipeline is replaced by one that waits to run."""
        after = self.begin("retry_job")
        old = await self.job(project, job)
        if old.status not in ("success", "failed", "canceled") or old.external:
            raise ForgeRejected(f"Job {job} cannot be run again.", status=403)
        new = replace(old, id=max(j.id for p in self.lines for j in p.jobs) + 1, status="pending")
        self._put(old, new)
        if after:
            raise after
        return new

    def _put(self, old: Job, new: Job) -> None:
        self.lines = [
            replace(
                line,
                status="running",
                jobs=tuple(new if each == old else each for each in line.jobs),
            )
            if old in line.jobs
            else line
            for line in self.lines
        ]
