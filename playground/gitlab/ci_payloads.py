"""What webhooks carry of pipelines, jobs and deployments."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from playground.gitlab.ci_records import Deployment, Environment, Job, Pipeline
from playground.gitlab.payloads import merge_request_attributes, project, repository, user, utc
from playground.gitlab.records import Project
from playground.gitlab.views import when

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge

Json = dict[str, Any]


def seconds(start: datetime | None, end: datetime | None) -> float | None:
    return round((end - start).total_seconds(), 3) if start and end else None


def pipeline(forge: Forge, record: Project, item: Pipeline) -> Json:
    owner = forge.state.users.get(item.user_id)
    mr = record.merge_requests.get(item.merge_request_iid or 0)
    return {
        "object_kind": "pipeline",
        "object_attributes": {
            "id": item.id,
            "iid": item.iid,
            "name": item.name,
            "ref": item.ref,
            "tag": item.tag,
            "sha": item.sha,
            "before_sha": item.before_sha,
            "source": item.source,
            "status": item.status,
            "detailed_status": item.status,
            "stages": item.stages,
            "created_at": utc(item.created_at),
            "finished_at": utc(item.finished_at),
            "duration": seconds(item.started_at, item.finished_at),
            "variables": [{"key": k, "value": v} for k, v in item.variables.items()],
            "url": f"{forge.web_url(record)}/-/pipelines/{item.id}",
        },
        "merge_request": merge_request_attributes(forge, record, mr) if mr else None,
        "user": user(owner),
        "project": project(forge, record),
        "commit": {"id": item.sha, "url": f"{forge.web_url(record)}/-/commit/{item.sha}"},
        "builds": [
            {
                "id": job.id,
                "stage": job.stage,
                "name": job.name,
                "status": job.status,
                "created_at": utc(job.created_at),
                "started_at": utc(job.started_at),
                "finished_at": utc(job.finished_at),
                "duration": seconds(job.started_at, job.finished_at),
                "failure_reason": job.failure_reason,
                "manual": bool(job.spec and job.spec.when == "manual"),
                "allow_failure": job.allow_failure,
                "user": user(forge.state.users.get(job.user_id)),
            }
            for job in item.jobs
            if not job.retried
        ],
    }


def job(forge: Forge, record: Project, line: Pipeline, item: Job) -> Json:
    return {
        "object_kind": "build",
        "ref": item.ref,
        "tag": item.tag,
        "before_sha": line.before_sha,
        "sha": line.sha,
        "build_id": item.id,
        "build_name": item.name,
        "build_stage": item.stage,
        "build_status": item.status,
        "build_created_at": utc(item.created_at),
        "build_started_at": utc(item.started_at),
        "build_finished_at": utc(item.finished_at),
        "build_duration": seconds(item.started_at, item.finished_at),
        "build_allow_failure": item.allow_failure,
        "build_failure_reason": item.failure_reason or "unknown_failure",
        "pipeline_id": line.id,
        "project_id": record.id,
        "project_name": forge.state.full_path(record),
        "user": user(forge.state.users.get(item.user_id)),
        "commit": {"id": line.id, "sha": line.sha, "status": line.status},
        "repository": repository(forge, record),
        "project": project(forge, record),
        "environment": None,
    }


def deployment(forge: Forge, record: Project, item: Deployment, place: Environment) -> Json:
    web = forge.web_url(record)
    return {
        "object_kind": "deployment",
        "status": item.status,
        "status_changed_at": when(item.updated_at),
        "deployment_id": item.id,
        "deployable_id": item.job_id,
        "deployable_url": f"{web}/-/jobs/{item.job_id}" if item.job_id else None,
        "environment": place.name,
        "environment_tier": place.tier,
        "environment_slug": place.slug,
        "environment_external_url": place.external_url,
        "project": project(forge, record),
        "ref": item.ref,
        "short_sha": item.sha[:8],
        "user": user(forge.state.users.get(item.user_id)),
        "user_url": f"{forge.url}/{forge.state.users[item.user_id].username}",
        "commit_url": f"{web}/-/commit/{item.sha}",
        "commit_title": "",
    }
