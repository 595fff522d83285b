"""What issues and merge requests share: filters, fields, label and milestone events."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

from playground.gitlab import views
from playground.gitlab.http import Call, not_found
from playground.gitlab.records import Issuable, Label, MergeRequest, Milestone, Project
from playground.gitlab.views import when

Item = TypeVar("Item", bound=Issuable)


def fill(call: Call, project: Project, item: Issuable) -> None:
    """Takes over what a create or update may set on either."""
    item.title = call.text("title", item.title)
    if "description" in call.params:
        item.description = call.text("description")
    if "assignee_ids" in call.params or "assignee_id" in call.params:
        item.assignee_ids = call.numbers("assignee_ids") or call.numbers("assignee_id")
    labels = set(item.labels)
    if "labels" in call.params:
        labels = set(map(str, call.items("labels")))
    labels |= set(call.items("add_labels"))
    labels -= set(call.items("remove_labels"))
    _set_labels(call, project, item, labels)
    if "milestone_id" in call.params:
        _set_milestone(call, project, item, call.number("milestone_id") or None)
    if "discussion_locked" in call.params:
        item.discussion_locked = call.flag("discussion_locked")
    item.updated_at = call.state.now()


def _set_labels(call: Call, project: Project, item: Issuable, labels: set[str]) -> None:
    known = {label.name: label for label in project.labels.values()}
    for group in call.state.lineage(project.namespace_id):
        known |= {label.name: label for label in group.labels.values()}
    for name in sorted(labels ^ set(item.labels)):
        if name not in known:
            number = call.state.next_id("label")
            known[name] = Label(id=number, name=name, color="#6699cc")
            project.labels[number] = known[name]
        action = "add" if name in labels else "remove"
        _event(call, item, {"label": _label(known[name]), "action": action}, "label")
    item.labels = sorted(labels)


def _label(label: Label) -> dict[str, Any]:
    shown = views.label(label)
    return {name: shown[name] for name in ("id", "name", "color", "description")}


def _set_milestone(call: Call, project: Project, item: Issuable, number: int | None) -> None:
    if number == item.milestone_id:
        return
    found: Milestone | None = project.milestones.get(number or item.milestone_id or 0)
    item.milestone_id = number
    shown = views.milestone(call.forge, found, call.forge.web_url(project))
    action = "add" if number else "remove"
    _event(call, item, {"milestone": shown, "action": action, "state": item.state}, "milestone")


def record_weight(call: Call, item: Issuable, weight: int | None) -> None:
    _event(call, item, {"issue_id": item.id, "weight": weight}, "weight")


def _event(call: Call, item: Issuable, more: dict[str, Any], kind: str) -> None:
    merge_request = isinstance(item, MergeRequest)
    event = {
        "id": call.state.next_id("resource_event"),
        "user": views.user(call.forge, call.user),
        "created_at": when(call.state.now()),
        "resource_type": "MergeRequest" if merge_request else "Issue",
        "resource_id": item.id,
    }
    if kind == "weight":
        del event["resource_type"], event["resource_id"]
    item.events.append({"kind": kind, "body": event | more})


def events(item: Issuable, kind: str) -> list[dict[str, Any]]:
    return [event["body"] for event in item.events if event["kind"] == kind]


def event(item: Issuable, kind: str, number: int) -> dict[str, Any]:
    for found in events(item, kind):
        if found["id"] == number:
            return found
    raise not_found()


def participants(call: Call, item: Issuable) -> list[dict[str, Any] | None]:
    numbers = [item.author_id, *item.assignee_ids, *(note.author_id for note in item.notes)]
    return [views.user_by_id(call.forge, number) for number in dict.fromkeys(numbers)]


def selected(call: Call, found: list[Item]) -> list[Item]:
    """Filters and order that the lists of both take."""
    state = call.text("state", "all")
    if state != "all":
        found = [item for item in found if item.state == state]
    if iids := call.numbers("iids"):
        found = [item for item in found if item.iid in iids]
    if text := call.text("search").lower():
        found = [i for i in found if text in f"{i.title}\n{i.description}".lower()]
    if "labels" in call.params:
        found = _labelled(call, found)
    if author := call.number("author_id"):
        found = [item for item in found if item.author_id == author]
    if name := call.text("author_username"):
        person = call.state.user_by_name(name)
        found = [item for item in found if person and item.author_id == person.id]
    if call.text("assignee_id") not in ("", "Any", "None"):
        found = [item for item in found if call.number("assignee_id") in item.assignee_ids]
    if title := call.text("milestone"):
        places = (*call.state.projects.values(), *call.state.groups.values())
        numbers = {m.id for p in places for m in p.milestones.values() if m.title == title}
        found = [item for item in found if item.milestone_id in numbers]
    for name, field, later in (
        ("created_after", "created_at", True),
        ("created_before", "created_at", False),
        ("updated_after", "updated_at", True),
        ("updated_before", "updated_at", False),
    ):
        if call.text(name):
            limit = datetime.fromisoformat(call.text(name).replace("Z", "+00:00"))
            found = [i for i in found if (getattr(i, field) >= limit) == later]
    field = "updated_at" if call.text("order_by") == "updated_at" else "created_at"
    down = call.text("sort", "desc") == "desc"
    return sorted(found, key=lambda item: (getattr(item, field), item.id), reverse=down)


def _labelled(call: Call, found: list[Item]) -> list[Item]:
    wanted = set(map(str, call.items("labels")))
    if wanted == {"Any"}:
        return [item for item in found if item.labels]
    if wanted == {"None"}:
        return [item for item in found if not item.labels]
    return [item for item in found if wanted <= set(item.labels)]
