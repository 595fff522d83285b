"""The variables of a pipeline and of a job, in GitLab's order of precedence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from playground.gitlab.ci_records import Job, Pipeline
from playground.gitlab.ci_rules import expand
from playground.gitlab.git_repo import Commit
from playground.gitlab.records import Group, Project, Variable

if TYPE_CHECKING:
    from playground.gitlab.ci_config import Config, JobSpec
    from playground.gitlab.forge import Forge


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "-", text.lower())[:63].strip("-")


def predefined(
    forge: Forge, project: Project, pipeline: Pipeline, commit: Commit
) -> dict[str, str]:
    user = forge.state.users[pipeline.user_id]
    path = forge.state.full_path(project)
    values = {
        "CI": "true",
        "GITLAB_CI": "true",
        "CI_SERVER": "yes",
        "CI_SERVER_URL": forge.url,
        "CI_SERVER_HOST": forge.url.partition("://")[2].partition(":")[0],
        "CI_SERVER_NAME": "GitLab",
        "CI_API_V4_URL": f"{forge.url}/api/v4",
        "CI_PROJECT_ID": str(project.id),
        "CI_PROJECT_NAME": project.path,
        "CI_PROJECT_TITLE": project.name,
        "CI_PROJECT_PATH": path,
        "CI_PROJECT_PATH_SLUG": slug(path),
        "CI_PROJECT_NAMESPACE": path.rsplit("/", 1)[0],
        "CI_PROJECT_ROOT_NAMESPACE": path.split("/", 1)[0],
        "CI_PROJECT_URL": forge.web_url(project),
        "CI_PROJECT_VISIBILITY": project.visibility,
        "CI_PROJECT_DIR": "/workspace",
        "CI_BUILDS_DIR": "/",
        "CI_DEFAULT_BRANCH": project.default_branch,
        "CI_CONFIG_PATH": project.setting("ci_config_path") or ".gitlab-ci.yml",
        "CI_REPOSITORY_URL": f"{forge.web_url(project)}.git",
        "CI_PIPELINE_ID": str(pipeline.id),
        "CI_PIPELINE_IID": str(pipeline.iid),
        "CI_PIPELINE_SOURCE": pipeline.source,
        "CI_PIPELINE_URL": f"{forge.web_url(project)}/-/pipelines/{pipeline.id}",
        "CI_PIPELINE_CREATED_AT": pipeline.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "CI_COMMIT_SHA": pipeline.sha,
        "CI_COMMIT_SHORT_SHA": pipeline.sha[:8],
        "CI_COMMIT_BEFORE_SHA": pipeline.before_sha,
        "CI_COMMIT_REF_NAME": pipeline.ref,
        "CI_COMMIT_REF_SLUG": slug(pipeline.ref),
        "CI_COMMIT_REF_PROTECTED": str(bool(forge.state.protection(project, pipeline.ref))).lower(),
        "CI_COMMIT_MESSAGE": commit.message,
        "CI_COMMIT_TITLE": commit.title,
        "CI_COMMIT_DESCRIPTION": commit.message.partition("\n")[2].strip(),
        "CI_COMMIT_AUTHOR": f"{commit.author} <{commit.author_email}>",
        "CI_COMMIT_TIMESTAMP": commit.committed,
        "GITLAB_USER_ID": str(user.id),
        "GITLAB_USER_LOGIN": user.username,
        "GITLAB_USER_NAME": user.name,
        "GITLAB_USER_EMAIL": user.email,
    }
    merge_request = project.merge_requests.get(pipeline.merge_request_iid or 0)
    if merge_request:
        values |= {
            "CI_MERGE_REQUEST_ID": str(merge_request.id),
            "CI_MERGE_REQUEST_IID": str(merge_request.iid),
            "CI_MERGE_REQUEST_TITLE": merge_request.title,
            "CI_MERGE_REQUEST_DRAFT": str(merge_request.draft).lower(),
            "CI_MERGE_REQUEST_LABELS": ",".join(merge_request.labels),
            "CI_MERGE_REQUEST_PROJECT_PATH": path,
            "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": merge_request.source_branch,
            "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": merge_request.target_branch,
            "CI_MERGE_REQUEST_EVENT_TYPE": "detached",
        }
    elif pipeline.tag:
        values["CI_COMMIT_TAG"] = pipeline.ref
    else:
        values["CI_COMMIT_BRANCH"] = pipeline.ref
    return values


def stored(forge: Forge, project: Project, ref: str, environment: str = "") -> list[Variable]:
    """Of the groups from the outermost in, then of the project, as far as they apply."""
    protected = bool(forge.state.protection(project, ref))
    places: list[Group | Project] = [*forge.state.lineage(project.namespace_id)][::-1]
    found = [variable for place in [*places, project] for variable in place.variables]
    return [
        variable
        for variable in found
        if (protected or not variable.protected)
        and (
            variable.environment_scope == "*"
            or (environment and fnmatchcase(environment, variable.environment_scope))
        )
    ]


def for_rules(
    forge: Forge, project: Project, pipeline: Pipeline, commit: Commit, config: Config
) -> dict[str, str]:
    """What `rules` may ask about, without a job's own variables."""
    kept = {v.key: v.value for v in stored(forge, project, pipeline.ref)}
    return {
        **predefined(forge, project, pipeline, commit),
        **config.variables,
        **kept,
        **pipeline.variables,
    }


def for_job(
    forge: Forge,
    project: Project,
    pipeline: Pipeline,
    job: Job,
    commit: Commit,
    dotenv: Mapping[str, str],
    job_token: str,
) -> dict[str, str]:
    spec: JobSpec = job.spec
    own = {
        "CI_JOB_ID": str(job.id),
        "CI_JOB_NAME": job.name,
        "CI_JOB_NAME_SLUG": slug(job.name),
        "CI_JOB_STAGE": job.stage,
        "CI_JOB_STATUS": "running",
        "CI_JOB_URL": f"{forge.web_url(project)}/-/jobs/{job.id}",
        "CI_JOB_TOKEN": job_token,
        "CI_JOB_MANUAL": str(spec.when == "manual").lower(),
        "CI_RUNNER_DESCRIPTION": "playground",
    }
    base = predefined(forge, project, pipeline, commit) | own
    environment = expand(str((spec.environment or {}).get("name", "")), base | job.variables)
    if environment:
        base |= {"CI_ENVIRONMENT_NAME": environment, "CI_ENVIRONMENT_SLUG": slug(environment)}
        base["CI_ENVIRONMENT_URL"] = expand(str((spec.environment or {}).get("url", "")), base)
    kept = stored(forge, project, pipeline.ref, environment)
    values = {**base, **job.variables, **dotenv}
    values |= {v.key: v.value for v in kept} | pipeline.variables
    raw = {v.key for v in kept if v.raw} | set(base) | set(dotenv)
    for _ in range(3):
        values = {
            key: value if key in raw or "$" not in value else expand(value, {**values, key: ""})
            for key, value in values.items()
        }
    job.masks = tuple(v.value for v in kept if v.masked and v.value)
    return values
