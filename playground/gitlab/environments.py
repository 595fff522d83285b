"""Environments and the deployments that jobs make to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.gitlab import ci_payloads
from playground.gitlab.ci_records import Deployment, Environment, Job, Pipeline
from playground.gitlab.ci_rules import expand
from playground.gitlab.ci_variables import slug
from playground.gitlab.records import Project, User

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge

TIERS = {
    "production": ("prod", "live"),
    "staging": ("stag", "model", "demo", "non-production", "pre"),
    "testing": ("test", "tst", "int", "ac", "acpt", "qa", "qc", "control", "quality"),
    "development": ("dev", "review", "trunk"),
}


def tier_of(name: str) -> str:
    lower = name.lower()
    return next((t for t, parts in TIERS.items() if any(p in lower for p in parts)), "other")


def ensure(forge: Forge, project: Project, name: str, url: str | None = None) -> Environment:
    found = next((e for e in project.environments.values() if e.name == name), None)
    now = forge.state.now()
    if found is None:
        found = Environment(
            id=forge.state.next_id("environment"),
            name=name,
            slug=slug(name),
            tier=tier_of(name),
            created_at=now,
            updated_at=now,
        )
        project.environments[found.id] = found
    found.state = "available"
    found.external_url = url or found.external_url
    return found


def deploy(
    forge: Forge,
    project: Project,
    place: Environment,
    *,
    user: User,
    ref: str,
    sha: str,
    tag: bool = False,
    status: str = "created",
    job: Job | None = None,
) -> Deployment:
    now = forge.state.now()
    deployment = Deployment(
        id=forge.state.next_id("deployment"),
        iid=project.next_iid("deployment"),
        environment_id=place.id,
        ref=ref,
        sha=sha,
        tag=tag,
        user_id=user.id,
        created_at=now,
        updated_at=now,
        job_id=job.id if job else None,
        status=status,
    )
    project.deployments[deployment.id] = deployment
    announce(forge, project, deployment)
    return deployment


def announce(forge: Forge, project: Project, deployment: Deployment) -> None:
    place = project.environments.get(deployment.environment_id)
    if place and deployment.status not in ("created", "blocked"):
        payload = ci_payloads.deployment(forge, project, deployment, place)
        forge.webhooks.fire(project, "deployment_events", payload)
    forge.state.publish("deployment", project, deployment.iid)


def set_status(forge: Forge, project: Project, deployment: Deployment, status: str) -> None:
    if deployment.status == status:
        return
    deployment.status = status
    deployment.updated_at = forge.state.now()
    if status in ("success", "failed", "canceled", "skipped"):
        deployment.finished_at = deployment.updated_at
    announce(forge, project, deployment)


def of_job(project: Project, job: Job) -> Deployment | None:
    return next((d for d in project.deployments.values() if d.job_id == job.id), None)


def name_of(forge: Forge, project: Project, pipeline: Pipeline, job: Job) -> str:
    raw = str((job.spec.environment or {}).get("name", "")) if job.spec else ""
    values = {
        "CI_COMMIT_REF_NAME": pipeline.ref,
        "CI_COMMIT_REF_SLUG": slug(pipeline.ref),
        "CI_COMMIT_SHORT_SHA": pipeline.sha[:8],
        "CI_COMMIT_SHA": pipeline.sha,
        "CI_PROJECT_PATH": forge.state.full_path(project),
        **pipeline.variables,
        **job.variables,
    }
    return expand(raw, values)


def refused(
    forge: Forge, project: Project, pipeline: Pipeline, job: Job, user: User | None = None
) -> bool:
    """Whether the environment is protected from this user, or from who started the job."""
    rule = project.protected_environments.get(name_of(forge, project, pipeline, job))
    user = user or forge.state.users.get(job.user_id)
    return rule is not None and not forge.state.granted(rule.deploy, project, user)


def job_moved(forge: Forge, project: Project, pipeline: Pipeline, job: Job) -> None:
    """Keeps environment and deployment in step with a job that names one."""
    config = job.spec.environment if job.spec else None
    if not config:
        return
    name = name_of(forge, project, pipeline, job)
    if config.get("action") == "stop":
        found = next((e for e in project.environments.values() if e.name == name), None)
        if found and job.status == "success":
            found.state = "stopped"
        return
    if config.get("action", "start") not in ("start",):
        return
    deployment = of_job(project, job)
    if deployment is None:
        if job.status not in ("pending", "manual", "running"):
            return
        url = expand(str(config.get("url") or ""), {**job.variables, **job.dotenv}) or None
        place = ensure(forge, project, name, url)
        rule = project.protected_environments.get(name)
        blocked = bool(rule and rule.required_approvals)
        deploy(
            forge,
            project,
            place,
            user=forge.state.users[job.user_id],
            ref=job.ref,
            sha=pipeline.sha,
            tag=job.tag,
            job=job,
            status="blocked" if blocked else "created",
        )
        return
    status = {"running": "running", "success": "success", "failed": "failed"}.get(job.status)
    status = status or {"canceled": "canceled", "skipped": "skipped"}.get(job.status)
    if status:
        set_status(forge, project, deployment, status)
