"""Merging, reverting and deploying, as GitLab's REST API takes it."""

from __future__ import annotations

import re

from agent.adapters import gitlab_pipelines as pipelines
from agent.adapters.gitlab_client import Get, Send
from agent.adapters.gitlab_payloads import Json, integer, merge_request, record, records, text
from agent.errors import Conflict, ForgeRejected
from agent.pipeline import Job
from agent.ports import Deployment, MergeRequest
from agent.run import CommitSha

_DRAFT = re.compile(r"(\s*(\[draft\]|\(draft\)|draft:))+\s*", re.IGNORECASE)


async def mark_ready(get: Get, put: Send, path: str) -> None:
    """The title is read now: somebody may have changed it."""
    title = text(record(await get(path)), "title")
    ready = _DRAFT.sub("", title, count=1) if _DRAFT.match(title) else title
    if ready != title:
        await put(path, {"title": ready or "Change"})


async def merge(
    put: Send, project: str, path: str, commit: CommitSha, *, token_name: str
) -> MergeRequest:
    """Without `auto_merge`: what is not ready is refused, not left for later."""
    wanted = {"sha": commit, "should_remove_source_branch": False}
    try:
        return merge_request(project, record(await put(f"{path}/merge", wanted)))
    except ForgeRejected as refusal:
        if refusal.status != 401:
            raise
        raise ForgeRejected(
            f"GitLab does not let the user of {token_name} merge this. Nothing was merged. Allow "
            "that user to merge into the target branch, or merge it at GitLab.",
            status=401,
        ) from refusal


async def create_branch(post: Send, project: str, branch: str, start: str) -> CommitSha:
    try:
        made = await post(f"{project}/repository/branches", {"branch": branch, "ref": start})
    except ForgeRejected as refusal:
        if refusal.status == 400 and "already exists" in str(refusal):
            raise Conflict(str(refusal), status=400) from refusal
        raise
    return CommitSha(text(record(record(made).get("commit")), "id"))


async def revert(post: Send, project: str, commit: CommitSha, branch: str) -> CommitSha:
    path = f"{project}/repository/commits/{commit}/revert"
    return CommitSha(text(record(await post(path, {"branch": branch})), "id"))


async def play(post: Send, project: str, job: int) -> Job:
    return pipelines.job(record(await post(f"{project}/jobs/{job}/play", {})))


async def deployment(
    get: Get, project: str, environment: str, commit: CommitSha
) -> Deployment | None:
    """The newest of a commit, among the environment's newest hundred."""
    listed = await get(
        f"{project}/deployments", environment=environment, order_by="id", sort="desc", per_page=100
    )
    found = [each for each in records(listed) if each.get("sha") == commit]
    newest = max(found, key=lambda each: integer(each, "id"), default=None)
    return _deployment(newest) if newest else None


def _deployment(found: Json) -> Deployment:
    job, place = found.get("deployable"), record(found.get("environment"))
    return Deployment(
        id=integer(found, "id"),
        environment=text(place, "name"),
        commit=CommitSha(text(found, "sha")),
        status=text(found, "status"),
        job=integer(record(job), "id") if job else None,
        url=text(place, "external_url"),
    )
