"""Issues and the links between them."""

from __future__ import annotations

from typing import Any

from playground.gitlab import closing, payloads, quick_actions
from playground.gitlab.http import ApiError, Call, Many, Reply, Routes, not_found
from playground.gitlab.issuables import fill, participants, record_weight, selected
from playground.gitlab.merge_views import basic, issuable
from playground.gitlab.records import GUEST, OWNER, REPORTER, Issue, MergeRequest, Project

routes = Routes()
LIST = "/projects/{id}/issues"
BASE = LIST + "/{iid}"


def shown(call: Call, project: Project, issue: Issue) -> dict[str, Any]:
    api = f"{call.forge.url}/api/v4/projects/{project.id}"
    body = issuable(call.forge, project, issue, "#", "issues")
    return body | {
        "type": issue.issue_type.upper(),
        "issue_type": issue.issue_type,
        "confidential": issue.confidential,
        "due_date": issue.due_date,
        "weight": issue.weight,
        "merge_requests_count": len(_merge_requests(project, issue)),
        "has_tasks": body["task_completion_status"]["count"] > 0,
        "task_status": "",
        "_links": {
            "self": f"{api}/issues/{issue.iid}",
            "notes": f"{api}/issues/{issue.iid}/notes",
            "award_emoji": f"{api}/issues/{issue.iid}/award_emoji",
            "project": api,
        },
        "severity": "UNKNOWN",
        "subscribed": bool(call.actor and call.actor.id in (issue.author_id, *issue.subscribers)),
        "moved_to_id": None,
        "imported": False,
        "imported_from": "none",
        "service_desk_reply_to": None,
    }


def _merge_requests(project: Project, issue: Issue) -> list[MergeRequest]:
    found = project.merge_requests.values()
    return [mr for mr in found if issue in closing.closes(project, f"{mr.title}\n{mr.description}")]


def _wanted(call: Call) -> Issue:
    found = call.project.issues.get(call.segment("iid"))
    if found is None or (found.confidential and not trusted(call, found)):
        raise not_found()
    return found


def trusted(call: Call, issue: Issue) -> bool:
    level = call.state.access(call.state.projects[issue.project_id], call.actor)
    return level >= REPORTER or bool(call.actor and call.actor.id == issue.author_id)


@routes.get(LIST, GUEST)
async def listed(call: Call) -> Any:
    project = call.project
    found = [i for i in project.issues.values() if not i.confidential or trusted(call, i)]
    return Many(_scoped(call, selected(call, found)), lambda issue: shown(call, project, issue))


@routes.get("/issues", anonymous=False)
async def everywhere(call: Call) -> Any:
    call.params.setdefault("scope", "created_by_me")
    places = [p for p in call.state.projects.values() if call.state.visible(p, call.actor)]
    found = [i for p in places for i in p.issues.values() if not i.confidential or trusted(call, i)]
    projects = call.state.projects
    return Many(
        _scoped(call, selected(call, found)), lambda i: shown(call, projects[i.project_id], i)
    )


def _scoped(call: Call, found: list[Issue]) -> list[Issue]:
    match call.text("scope"):
        case "created_by_me":
            return [i for i in found if i.author_id == call.user.id]
        case "assigned_to_me":
            return [i for i in found if call.user.id in i.assignee_ids]
        case _:
            return found


@routes.post(LIST, GUEST)
async def create(call: Call) -> Any:
    project = call.project
    call.need("title")
    now = call.state.now()
    issue = Issue(
        id=call.state.next_id("issue"),
        iid=project.next_iid("issue"),
        project_id=project.id,
        title="",
        author_id=call.user.id,
        created_at=now,
        updated_at=now,
    )
    await _change(call, project, issue)
    project.issues[issue.iid] = issue
    _announce(call, project, issue, "open")
    return shown(call, project, issue)


async def _change(call: Call, project: Project, issue: Issue) -> None:
    fill(call, project, issue)
    issue.confidential = call.flag("confidential", issue.confidential)
    issue.due_date = call.params.get("due_date", issue.due_date)
    issue.issue_type = call.text("issue_type", issue.issue_type)
    if "weight" in call.params:
        issue.weight = call.number("weight")
        record_weight(call, issue, issue.weight)
    if "description" in call.params:
        issue.description, commands = quick_actions.extract(issue.description)
        await quick_actions.execute(call.forge, project, issue, call.user, commands)


def _announce(call: Call, project: Project, issue: Issue, action: str) -> None:
    payload = payloads.issue(call.forge, project, issue, call.user, action)
    call.forge.webhooks.fire(project, "issues_events", payload)
    call.state.publish("issue", project, issue.iid)


@routes.get(BASE, GUEST)
async def one(call: Call) -> Any:
    return shown(call, call.project, _wanted(call))


@routes.put(BASE, GUEST)
async def update(call: Call) -> Any:
    project, issue = call.project, _wanted(call)
    if not trusted(call, issue):
        raise ApiError(403, "403 Forbidden")
    await _change(call, project, issue)
    match call.text("state_event"):
        case "close":
            closing.close(call.forge, project, call.user, issue)
        case "reopen":
            issue.state, issue.closed_at, issue.closed_by = "opened", None, None
            _announce(call, project, issue, "reopen")
        case _:
            _announce(call, project, issue, "update")
    return shown(call, project, issue)


@routes.delete(BASE, OWNER)
async def remove(call: Call) -> Any:
    del call.project.issues[_wanted(call).iid]
    return Reply(status=204)


@routes.get(BASE + "/participants", GUEST)
async def people(call: Call) -> Any:
    return participants(call, _wanted(call))


@routes.get(BASE + "/related_merge_requests", GUEST)
@routes.get(BASE + "/closed_by", GUEST)
async def related(call: Call) -> Any:
    project = call.project
    return [await basic(call.forge, project, mr) for mr in _merge_requests(project, _wanted(call))]


for _change_name, _adds in (("subscribe", True), ("unsubscribe", False)):

    @routes.post(f"{BASE}/{_change_name}", GUEST)
    async def subscribe(call: Call, adds: bool = _adds) -> Any:
        issue = _wanted(call)
        (issue.subscribers.add if adds else issue.subscribers.discard)(call.user.id)
        return shown(call, call.project, issue)


# --- links


def _linked(call: Call, issue: Issue, number: int) -> tuple[Project, Issue, str]:
    if number not in issue.links:
        raise not_found("Issue Link")
    project_id, iid, kind = issue.links[number]
    project = call.state.projects[project_id]
    return project, project.issues[iid], kind


@routes.get(BASE + "/links", GUEST)
async def links(call: Call) -> Any:
    issue = _wanted(call)
    found = [(number, *_linked(call, issue, number)) for number in issue.links]
    return [
        shown(call, project, other)
        | {
            "issue_link_id": number,
            "link_type": kind,
            "link_created_at": shown(call, project, other)["created_at"],
            "link_updated_at": shown(call, project, other)["updated_at"],
        }
        for number, project, other, kind in found
    ]


@routes.post(BASE + "/links", GUEST)
async def link(call: Call) -> Any:
    project, issue = call.project, _wanted(call)
    call.need("target_project_id", "target_issue_iid")
    target = call.state.project_by(call.text("target_project_id"))
    other = target and target.issues.get(call.number("target_issue_iid") or 0)
    if target is None or other is None or not call.state.visible(target, call.actor):
        raise not_found()
    if (target.id, other.iid) in [entry[:2] for entry in issue.links.values()]:
        raise ApiError(409, "Issue(s) already assigned")
    number, kind = call.state.next_id("issue_link"), call.text("link_type", "relates_to")
    back = {"blocks": "is_blocked_by", "is_blocked_by": "blocks"}.get(kind, kind)
    issue.links[number] = (target.id, other.iid, kind)
    other.links[number] = (project.id, issue.iid, back)
    return _link(call, number, (project, issue), (target, other), kind)


def _link(
    call: Call,
    number: int,
    source: tuple[Project, Issue],
    target: tuple[Project, Issue],
    kind: str,
) -> dict[str, Any]:
    return {
        "id": number,
        "source_issue": shown(call, *source),
        "target_issue": shown(call, *target),
        "link_type": kind,
    }


@routes.get(BASE + "/links/{link_id}", GUEST)
async def one_link(call: Call) -> Any:
    issue, number = _wanted(call), call.segment("link_id")
    project, other, kind = _linked(call, issue, number)
    return _link(call, number, (call.project, issue), (project, other), kind)


@routes.delete(BASE + "/links/{link_id}", GUEST)
async def unlink(call: Call) -> Any:
    project, issue, number = call.project, _wanted(call), call.segment("link_id")
    target, other, kind = _linked(call, issue, number)
    del issue.links[number]
    other.links.pop(number, None)
    return Reply(_link(call, number, (project, issue), (target, other), kind), 200)
