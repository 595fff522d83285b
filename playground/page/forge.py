"""Merge requests, their changes and their pipelines, as the page shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from playground.gitlab.forge import Forge
from playground.gitlab.git_repo import FileDiff, GitError
from playground.gitlab.records import Deployment, Job, MergeRequest, Note, Pipeline, Project

Json = dict[str, Any]

PATCH_CHARS = 200_000
TRACE_BYTES = 500_000


class ForgeView:
    def __init__(self, forge: Forge) -> None:
        self.forge = forge
        self._diffs: dict[tuple[int, str, str], list[Json]] = {}

    def project(self, path: str) -> Project:
        """Raises LookupError."""
        project = self.forge.state.project_by(path)
        if project is None:
            raise LookupError(f"There is no project {path}.")
        return project

    async def all(self) -> list[Json]:
        found = [
            (project, each)
            for project in self.forge.state.projects.values()
            for each in project.merge_requests.values()
        ]
        found.sort(key=lambda pair: pair[1].created_at)
        return [await self.merge_request(*pair) for pair in found]

    async def of_project(self, path: str) -> list[Json]:
        project = self.forge.state.project_by(path)
        if project is None:
            return []
        return [await self.merge_request(project, each) for each in project.merge_requests.values()]

    async def merge_request(self, project: Project, item: MergeRequest) -> Json:
        path = self.forge.state.full_path(project)
        files = await self._files(project, item)
        return {
            "key": f"{path}!{item.iid}",
            "project": path,
            "iid": item.iid,
            "title": item.title,
            "draft": item.draft,
            "state": item.state,
            "description": item.description,
            "source_branch": item.source_branch,
            "target_branch": item.target_branch,
            "sha": item.sha or "",
            "author": self._name(item.author_id),
            "created_at": item.created_at.timestamp(),
            "web_url": f"{self.forge.web_url(project)}/-/merge_requests/{item.iid}",
            "stat": {
                "files": len(files),
                "additions": sum(each["additions"] for each in files),
                "deletions": sum(each["deletions"] for each in files),
            },
            "ended_by": self._name(item.merged_by or item.closed_by or 0),
            "ended_at": _stamp(item.merged_at or item.closed_at),
            "merge_sha": item.merge_commit_sha or item.squash_commit_sha or "",
            "environments": self._environments(project, item),
            "notes": [self._note(each) for each in item.notes],
            "pipelines": self._pipelines(project, item),
        }

    async def files(self, path: str, iid: int) -> list[Json]:
        """Raises LookupError."""
        project = self.project(path)
        item = project.merge_requests.get(iid)
        if item is None:
            raise LookupError(f"{path} has no merge request !{iid}.")
        return await self._files(project, item)

    async def _files(self, project: Project, item: MergeRequest) -> list[Json]:
        repository = self.forge.repository(project)
        if not item.sha:
            return []
        try:
            base = item.base_sha
            if base is None:
                target = await repository.resolve(f"refs/heads/{item.target_branch}")
                base = await repository.merge_base(item.sha, target) if target else None
            if base is None:
                return []
            key = (project.id, base, item.sha)
            if key not in self._diffs:
                self._diffs[key] = [_file(each) for each in await repository.diff(base, item.sha)]
            return self._diffs[key]
        except GitError:  # the branch is being written at this moment; its push will tell
            return []

    def trace(self, path: str, job_id: int) -> str:
        """Raises LookupError."""
        for pipeline in self.project(path).pipelines.values():
            for job in pipeline.jobs:
                if job.id == job_id:
                    text = bytes(job.trace[-TRACE_BYTES:]).decode("utf-8", "replace")
                    return text if len(job.trace) <= TRACE_BYTES else f"… cut …\n{text}"
        raise LookupError(f"{path} has no job {job_id}.")

    def _environments(self, project: Project, item: MergeRequest) -> list[Json]:
        """Of the project: what is deployed there, and the newest deployment."""
        shown = {job["id"] for line in self._pipelines(project, item) for job in line["jobs"]}
        found: list[Json] = []
        for place in project.environments.values():
            mine = [d for d in project.deployments.values() if d.environment_id == place.id]
            good = [d for d in mine if d.status == "success"]
            live = max(good, key=lambda d: d.finished_at or d.updated_at, default=None)
            latest = max(mine, key=lambda d: d.id, default=None)
            found.append(
                {
                    "name": place.name,
                    "url": place.external_url or "",
                    "protected": place.name in project.protected_environments,
                    "web_url": f"{self.forge.web_url(project)}/-/environments/{place.id}",
                    "live": self._deployment(project, live, shown) if live else None,
                    "latest": self._deployment(project, latest, shown) if latest else None,
                }
            )
        return found

    def _deployment(self, project: Project, item: Deployment, shown: set[int]) -> Json:
        jobs = (job for line in project.pipelines.values() for job in line.jobs)
        job = next((each for each in jobs if each.id == item.job_id), None)
        return {
            "id": item.id,
            "sha": item.sha,
            "status": item.status,
            "started": item.status not in ("created", "blocked", "skipped"),
            "by": self._name(job.user_id if job else item.user_id),
            "at": _stamp(item.finished_at or item.updated_at),
            "job": item.job_id,
            "job_name": job.name if job else "",
            "shown": item.job_id in shown,
        }

    def _pipelines(self, project: Project, item: MergeRequest) -> list[Json]:
        landed = item.merge_commit_sha or item.squash_commit_sha
        mine = [
            each
            for each in project.pipelines.values()
            if each.merge_request_iid == item.iid
            or (each.ref == item.source_branch and item.source_project_id == project.id)
            or (each.sha == landed and each.ref == item.target_branch)
        ]
        mine.sort(key=lambda each: each.id, reverse=True)
        return [self._pipeline(project, each) for each in mine]

    def _pipeline(self, project: Project, pipeline: Pipeline) -> Json:
        web = self.forge.web_url(project)
        jobs = [each for each in pipeline.jobs if not each.retried]
        stages = [each for each in pipeline.stages if any(job.stage == each for job in jobs)]
        return {
            "id": pipeline.id,
            "status": pipeline.status,
            "sha": pipeline.sha,
            "ref": pipeline.ref,
            "source": pipeline.source,
            "error": pipeline.yaml_errors or "",
            "duration": _seconds(pipeline.started_at, pipeline.finished_at),
            "web_url": f"{web}/-/pipelines/{pipeline.id}",
            "stages": stages or list(dict.fromkeys(job.stage for job in jobs)),
            "jobs": [_job(each, web) for each in jobs],
        }

    def _note(self, note: Note) -> Json:
        return {
            "id": note.id,
            "author": self._name(note.author_id),
            "body": note.body,
            "system": note.system,
            "created_at": note.created_at.timestamp(),
        }

    def _name(self, user_id: int) -> str:
        user = self.forge.state.users.get(user_id)
        return user.name if user else "somebody"


def _job(job: Job, web: str) -> Json:
    return {
        "id": job.id,
        "name": job.name,
        "stage": job.stage,
        "status": job.status,
        "allow_failure": job.allow_failure,
        "duration": _seconds(job.started_at, job.finished_at),
        "web_url": f"{web}/-/jobs/{job.id}",
    }


def _file(record: FileDiff) -> Json:
    lines = record.patch.split("\n")
    return {
        "old_path": record.old_path,
        "new_path": record.new_path,
        "new_file": record.status == "A",
        "deleted_file": record.status == "D",
        "renamed_file": record.status == "R",
        "additions": sum(line.startswith("+") for line in lines),
        "deletions": sum(line.startswith("-") for line in lines),
        "diff": record.patch if len(record.patch) <= PATCH_CHARS else "",
        "note": "Too large to show." if len(record.patch) > PATCH_CHARS else "",
    }


def _stamp(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None
