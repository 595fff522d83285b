"""GitLab's JSON of pipelines, jobs, environments and deployments."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from playground.gitlab import views
from playground.gitlab.ci_records import Deployment, Environment, Job, Pipeline
from playground.gitlab.git_repo import Commit
from playground.gitlab.records import Project
from playground.gitlab.views import Json, when

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge

LABELS = {"success": "passed", "manual": "blocked"}


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return round((end - start).total_seconds(), 6) if start and end else None


def pipeline_basic(forge: Forge, project: Project, item: Pipeline) -> Json:
    ref = item.ref
    if item.merge_request_iid:
        ref = f"refs/merge-requests/{item.merge_request_iid}/head"
    return {
        "id": item.id,
        "iid": item.iid,
        "project_id": project.id,
        "sha": item.sha,
        "ref": ref,
        "status": item.status,
        "source": item.source,
        "created_at": when(item.created_at),
        "updated_at": when(item.updated_at),
        "web_url": f"{forge.web_url(project)}/-/pipelines/{item.id}",
    }


def pipeline_full(forge: Forge, project: Project, item: Pipeline) -> Json:
    text = LABELS.get(item.status, item.status)
    path = f"/{forge.state.full_path(project)}/-/pipelines/{item.id}"
    duration = _seconds(item.started_at, item.finished_at)
    return pipeline_basic(forge, project, item) | {
        "before_sha": item.before_sha,
        "tag": item.tag,
        "yaml_errors": item.yaml_errors,
        "user": views.user_by_id(forge, item.user_id),
        "started_at": when(item.started_at),
        "finished_at": when(item.finished_at),
        "committed_at": None,
        "duration": round(duration) if duration is not None else None,
        "queued_duration": _seconds(item.created_at, item.started_at),
        "coverage": next((str(j.coverage) for j in item.jobs if j.coverage is not None), None),
        "detailed_status": {
            "icon": f"status_{item.status}",
            "text": text,
            "label": text,
            "group": item.status,
            "tooltip": text,
            "has_details": True,
            "details_path": path,
            "illustration": None,
            "favicon": f"/assets/ci_favicons/favicon_status_{item.status}.png",
        },
        "archived": False,
    }


def pipeline_with_name(forge: Forge, project: Project, item: Pipeline) -> Json:
    return pipeline_full(forge, project, item) | {"name": item.name}


def job_basic(
    forge: Forge, project: Project, line: Pipeline, item: Job, commit: Commit | None
) -> Json:
    owner = forge.state.users.get(item.user_id)
    return {
        "id": item.id,
        "status": item.status,
        "stage": item.stage,
        "name": item.name,
        "ref": item.ref,
        "tag": item.tag,
        "coverage": item.coverage,
        "allow_failure": item.allow_failure,
        "created_at": when(item.created_at),
        "started_at": when(item.started_at),
        "finished_at": when(item.finished_at),
        "erased_at": when(item.erased_at),
        "duration": _seconds(item.started_at, item.finished_at),
        "queued_duration": _seconds(item.created_at, item.started_at),
        "user": views.user(forge, owner),
        "commit": views.commit(forge, project, commit) if commit else None,
        "pipeline": pipeline_basic(forge, project, line),
        "failure_reason": item.failure_reason,
        "web_url": f"{forge.web_url(project)}/-/jobs/{item.id}",
        "project": {"ci_job_token_scope_enabled": False},
    }


def job(forge: Forge, project: Project, line: Pipeline, item: Job, commit: Commit | None) -> Json:
    shown = job_basic(forge, project, line, item, commit)
    archive = item.artifacts.get("archive")
    listed = [
        {
            "file_type": artifact.kind,
            "size": artifact.size,
            "filename": "artifacts.zip" if kind == "archive" else f"{kind}.xml.gz",
            "file_format": "zip" if kind == "archive" else "gzip",
        }
        for kind, artifact in item.artifacts.items()
    ]
    if item.trace:
        trace = {"file_type": "trace", "size": len(item.trace), "filename": "job.log"}
        listed.append(trace | {"file_format": None})
    if archive:
        shown["artifacts_file"] = {"filename": "artifacts.zip", "size": archive.size}
    return shown | {
        "artifacts": listed,
        "runner": None,
        "runner_manager": None,
        "artifacts_expire_at": None,
        "archived": False,
        "tag_list": list(item.spec.tags) if item.spec else [],
    }


def trace(item: Job) -> bytes:
    """The job's log without the values that are to be masked."""
    data = bytes(item.trace)
    for value in item.masks:
        data = data.replace(value.encode(), b"[MASKED]")
    return data


def environment_basic(item: Environment) -> Json:
    return {
        "id": item.id,
        "name": item.name,
        "slug": item.slug,
        "external_url": item.external_url,
        "created_at": when(item.created_at),
        "updated_at": when(item.updated_at),
    }


async def deployment(forge: Forge, project: Project, item: Deployment) -> Json:
    place = project.environments.get(item.environment_id)
    found = [
        (line, job)
        for line in project.pipelines.values()
        for job in line.jobs
        if job.id == item.job_id
    ]
    deployable: Json | None = None
    if found:
        line, made_by = found[0]
        commit = await forge.repository(project).commit(line.sha)
        deployable = job(forge, project, line, made_by, commit)
    return {
        "id": item.id,
        "iid": item.iid,
        "ref": item.ref,
        "sha": item.sha,
        "created_at": when(item.created_at),
        "updated_at": when(item.updated_at),
        "user": views.user_by_id(forge, item.user_id),
        "environment": environment_basic(place) if place else None,
        "deployable": deployable,
        "status": item.status,
    }


async def environment(
    forge: Forge, project: Project, item: Environment, *, last: bool = False
) -> Json:
    shown = environment_basic(item) | {
        "tier": item.tier,
        "state": item.state,
        "auto_stop_at": None,
        "description": item.description,
        "auto_stop_setting": "always",
        "kubernetes_namespace": None,
        "flux_resource_path": None,
        "cluster_agent": None,
    }
    if last:
        done = [
            d
            for d in project.deployments.values()
            if d.environment_id == item.id and d.status == "success"
        ]
        newest = max(done, key=lambda d: d.finished_at or d.updated_at) if done else None
        shown["project"] = views.project_basic(forge, project)
        shown["last_deployment"] = (
            await deployment(forge, project, newest) if newest is not None else None
        )
    return shown
