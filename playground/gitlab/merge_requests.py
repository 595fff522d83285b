"""Merge requests: opened, listed, read, changed."""

from __future__ import annotations

from typing import Any

from playground.gitlab import closing, payloads, quick_actions, views
from playground.gitlab.http import ApiError, Call, Many, Reply, Routes
from playground.gitlab.issuables import fill, participants, selected
from playground.gitlab.merge_views import base_of, basic, full
from playground.gitlab.merging import merge_request_of
from playground.gitlab.pipeline_views import pipeline_basic, pipeline_full
from playground.gitlab.records import DEVELOPER, GUEST, OWNER, REPORTER, MergeRequest, Project

routes = Routes()
LIST = "/projects/{id}/merge_requests"
BASE = LIST + "/{iid}"


async def _visible_branch(call: Call, project: Project, branch: str) -> str | None:
    """The head, unless the push is too fresh for GitLab's background work."""
    pushed_at = project.pushed_at.get(branch, float("-inf"))
    if call.state.younger(pushed_at, call.state.lags.branch):
        return None
    return await call.forge.repository(project).branch(branch)


@routes.post(LIST, DEVELOPER)
async def create(call: Call) -> Any:
    source = call.project
    call.need("source_branch", "target_branch", "title")
    target = call.state.projects.get(call.number("target_project_id", source.id) or 0)
    if target is None or not call.state.visible(target, call.actor):
        raise ApiError(404, "404 Project Not Found")
    branch, onto = call.text("source_branch"), call.text("target_branch")
    if source is target and branch == onto:
        text = "You can't use same project/branch for source and target"
        raise ApiError(409, [text])
    sha = await _visible_branch(call, source, branch)
    if sha is None:
        raise ApiError(400, {"message": {"source_branch": ["does not exist"]}})
    if await call.forge.repository(target).branch(onto) is None:
        raise ApiError(400, {"message": {"target_branch": ["does not exist"]}})
    _check_no_other(target, source, branch, onto)
    now = call.state.now()
    mr = MergeRequest(
        id=call.state.next_id("merge_request"),
        iid=target.next_iid("merge_request"),
        project_id=target.id,
        title=call.text("title"),
        author_id=call.user.id,
        created_at=now,
        updated_at=now,
        source_project_id=source.id,
        source_branch=branch,
        target_branch=onto,
        sha=sha,
        checking_since=call.state.monotonic(),
        remove_source_branch=call.flag("remove_source_branch")
        or target.setting("remove_source_branch_after_merge"),
    )
    await call.forge.keep_head(source, target, mr)
    _check_no_other(target, source, branch, onto)  # by now
    _fill(call, target, mr)
    target.merge_requests[mr.iid] = mr
    await _commands(call, target, mr)
    payload = payloads.merge_request(call.forge, target, mr, call.user, "open")
    call.forge.webhooks.fire(target, "merge_requests_events", payload)
    call.state.publish("merge_request", target, mr.iid)
    await call.forge.pipelines.on_merge_request(target, call.user, mr)
    return await full(call.forge, target, mr, call.actor)


def _check_no_other(target: Project, source: Project, branch: str, onto: str) -> None:
    for other in target.merge_requests.values():
        same = (other.source_project_id, other.source_branch, other.target_branch)
        if other.state == "opened" and same == (source.id, branch, onto):
            text = "Another open merge request already exists for this source branch: "
            raise ApiError(409, [f"{text}!{other.iid}"])


def _fill(call: Call, project: Project, mr: MergeRequest) -> None:
    fill(call, project, mr)
    if "reviewer_ids" in call.params:
        mr.reviewer_ids = call.numbers("reviewer_ids")
    for name in ("squash", "remove_source_branch", "allow_collaboration"):
        if name in call.params:
            setattr(mr, name, call.flag(name))


async def _commands(call: Call, project: Project, mr: MergeRequest) -> None:
    """Descriptions may hold quick actions too."""
    mr.description, commands = quick_actions.extract(mr.description or "")
    await quick_actions.execute(call.forge, project, mr, call.user, commands)


def _wanted(call: Call, found: list[MergeRequest]) -> list[MergeRequest]:
    found = selected(call, found)
    for name in ("source_branch", "target_branch"):
        if call.text(name):
            found = [mr for mr in found if getattr(mr, name) == call.text(name)]
    if call.text("scope") in ("created_by_me", "assigned_to_me"):
        mine = call.user.id
        own = call.text("scope") == "created_by_me"
        found = [mr for mr in found if (mr.author_id == mine if own else mine in mr.assignee_ids)]
    if reviewer := call.number("reviewer_id"):
        found = [mr for mr in found if reviewer in mr.reviewer_ids]
    draft = call.text("draft") or {"yes": "true", "no": "false"}.get(call.text("wip"), "")
    if draft:
        found = [mr for mr in found if mr.draft == (draft == "true")]
    return found


@routes.get(LIST, GUEST)
async def listed(call: Call) -> Any:
    project = call.project
    found = _wanted(call, list(project.merge_requests.values()))
    return Many(found, lambda mr: basic(call.forge, project, mr))


@routes.get("/groups/{id}/merge_requests")
async def of_group(call: Call) -> Any:
    group = call.group
    return _several(call, lambda p: group in call.state.lineage(p.namespace_id))


@routes.get("/merge_requests", anonymous=False)
async def everywhere(call: Call) -> Any:
    if call.text("scope", "created_by_me") == "created_by_me":
        call.params["scope"] = "created_by_me"
    return _several(call, lambda p: True)


def _several(call: Call, wanted: Any) -> Many:
    places = [
        p for p in call.state.projects.values() if wanted(p) and call.state.visible(p, call.actor)
    ]
    found = _wanted(call, [mr for p in places for mr in p.merge_requests.values()])
    projects = call.state.projects
    return Many(found, lambda mr: basic(call.forge, projects[mr.project_id], mr))


@routes.get(BASE, GUEST)
async def one(call: Call) -> Any:
    project, mr = call.project, merge_request_of(call)
    shown = await full(call.forge, project, mr, call.actor)
    if call.flag("include_rebase_in_progress"):
        shown["rebase_in_progress"] = False
    if call.flag("include_diverged_commits_count") and mr.sha:
        repository = call.forge.repository(project)
        base = await base_of(call.forge, project, mr)
        count = await repository.text("rev-list", "--count", mr.target_branch, f"^{base or mr.sha}")
        shown["diverged_commits_count"] = int(count)
    return shown


@routes.put(BASE, DEVELOPER)
async def update(call: Call) -> Any:
    project, mr = call.project, merge_request_of(call)
    event, action = call.text("state_event"), "update"
    _fill(call, project, mr)
    if target := call.text("target_branch"):
        if await call.forge.repository(project).branch(target) is None:
            raise ApiError(400, {"message": {"target_branch": ["does not exist"]}})
        mr.target_branch = target
        mr.checking_since = call.state.monotonic()
    if event == "close" and mr.state == "opened":
        mr.base_sha = await base_of(call.forge, project, mr)
        mr.state, mr.closed_by, action = "closed", call.user.id, "close"
        mr.closed_at = call.state.now()
    elif event == "reopen" and mr.state == "closed":
        source = call.state.projects.get(mr.source_project_id, project)
        head = await call.forge.repository(source).branch(mr.source_branch)
        mr.sha, mr.source_gone = head or mr.sha, head is None
        await call.forge.keep_head(source, project, mr)
        mr.state, mr.closed_by, mr.closed_at, mr.base_sha = "opened", None, None, None
        action = "reopen"
    if "description" in call.params:
        await _commands(call, project, mr)
    payload = payloads.merge_request(call.forge, project, mr, call.user, action)
    call.forge.webhooks.fire(project, "merge_requests_events", payload)
    call.state.publish("merge_request", project, mr.iid)
    return await full(call.forge, project, mr, call.actor)


@routes.delete(BASE, OWNER)
async def remove(call: Call) -> Any:
    del call.project.merge_requests[merge_request_of(call).iid]
    return Reply(status=204)


# --- what it holds


@routes.get(BASE + "/commits", REPORTER)
async def commits(call: Call) -> Any:
    project, mr = call.project, merge_request_of(call)
    base = await base_of(call.forge, project, mr)
    if not mr.sha:
        return []
    found = await call.forge.repository(project).log(mr.sha, *([f"^{base}"] if base else []), "--")
    return Many(found, lambda c: views.commit(call.forge, project, c))


async def _diffs(call: Call) -> list[dict[str, Any]]:
    project, mr = call.project, merge_request_of(call)
    base = await base_of(call.forge, project, mr)
    found = await call.forge.repository(project).diff(base, mr.sha) if base and mr.sha else []
    return [views.diff(d) for d in found]


@routes.get(BASE + "/diffs", REPORTER)
async def diffs(call: Call) -> Any:
    return await _diffs(call)


@routes.get(BASE + "/changes", REPORTER)
async def changes(call: Call) -> Any:
    project, mr = call.project, merge_request_of(call)
    shown = await full(call.forge, project, mr, call.actor)
    return shown | {"changes": await _diffs(call), "overflow": False}


@routes.get(BASE + "/raw_diffs", REPORTER)
async def raw_diffs(call: Call) -> Any:
    project, mr = call.project, merge_request_of(call)
    base = await base_of(call.forge, project, mr)
    data = b""
    if base and mr.sha:
        data = await call.forge.repository(project).git("diff", "-M", base, mr.sha, "--")
    return Reply(data, content_type="text/plain")


@routes.get(BASE + "/versions", REPORTER)
async def versions(call: Call) -> Any:
    project, mr = call.project, merge_request_of(call)
    base = await base_of(call.forge, project, mr)
    return [
        {
            "id": mr.id,
            "head_commit_sha": mr.sha,
            "base_commit_sha": base,
            "start_commit_sha": base,
            "created_at": views.when(mr.updated_at),
            "merge_request_id": mr.id,
            "state": "collected",
            "real_size": "1",
            "patch_id_sha": None,
        }
    ]


@routes.get(BASE + "/pipelines", REPORTER)
async def pipelines(call: Call) -> Any:
    project, mr = call.project, merge_request_of(call)
    found = [
        p
        for p in project.pipelines.values()
        if p.merge_request_iid == mr.iid
        or (p.ref == mr.source_branch and not p.tag and p.merge_request_iid is None)
    ]
    return [pipeline_basic(call.forge, project, p) for p in sorted(found, key=lambda p: -p.id)]


@routes.post(BASE + "/pipelines", DEVELOPER)
async def start_pipeline(call: Call) -> Any:
    project, mr = call.project, merge_request_of(call)
    made = await call.forge.pipelines.on_merge_request(project, call.user, mr)
    if made is None:
        raise ApiError(400, {"message": {"base": ["No stages / jobs for this pipeline."]}})
    return pipeline_full(call.forge, project, made)


@routes.get(BASE + "/participants", GUEST)
async def people(call: Call) -> Any:
    return participants(call, merge_request_of(call))


@routes.get(BASE + "/reviewers", GUEST)
async def reviewers(call: Call) -> Any:
    mr = merge_request_of(call)
    return [
        {
            "user": views.user_by_id(call.forge, number),
            "state": "approved" if number in mr.approved_by else "unreviewed",
            "created_at": views.when(mr.created_at),
        }
        for number in mr.reviewer_ids
    ]


@routes.get(BASE + "/closes_issues", GUEST)
async def closes_issues(call: Call) -> Any:
    from playground.gitlab.issues import shown, trusted

    project, mr = call.project, merge_request_of(call)
    found = closing.closes(project, f"{mr.title}\n{mr.description}")
    seen = [issue for issue in found if not issue.confidential or trusted(call, issue)]
    return Many(seen, lambda issue: shown(call, project, issue))
