"""Notes and discussions on issues, merge requests and commits; emoji on all of them."""

from __future__ import annotations

import hashlib
from typing import Any

from playground.gitlab import payloads, quick_actions, views
from playground.gitlab.http import ApiError, Call, Reply, Routes, not_found
from playground.gitlab.records import (
    DEVELOPER,
    GUEST,
    MAINTAINER,
    Discussed,
    Discussion,
    Issuable,
    Issue,
    MergeRequest,
    Note,
)
from playground.gitlab.repository import commit_of
from playground.gitlab.views import when

routes = Routes()


async def talk_of(call: Call) -> Discussed:
    """The thing of the path that is talked on."""
    project = call.project
    if "sha" in call.path:
        return project.commits.setdefault(await commit_of(call, call.path["sha"]), Discussed())
    issues = "/issues/" in call.route.name
    found = (project.issues if issues else project.merge_requests).get(call.segment("iid"))
    if found is None:
        raise not_found()
    return found


def _shown(call: Call, on: Discussed, note: Note) -> dict[str, Any]:
    kind = {MergeRequest: "MergeRequest", Issue: "Issue"}.get(type(on), "Commit")
    shown: dict[str, Any] = {
        "id": note.id,
        "type": "DiscussionNote" if note.resolvable else None,
        "body": note.body,
        "author": views.user_by_id(call.forge, note.author_id),
        "created_at": when(note.created_at),
        "updated_at": when(note.updated_at),
        "system": note.system,
        "noteable_id": on.id if isinstance(on, Issuable) else None,
        "noteable_type": kind,
        "project_id": call.project.id,
        "resolvable": note.resolvable,
        "confidential": note.internal,
        "internal": note.internal,
        "imported": False,
        "imported_from": "none",
        "noteable_iid": on.iid if isinstance(on, Issuable) else None,
        "commands_changes": note.commands,
    }
    if kind == "Commit":
        shown["commit_id"] = call.path.get("sha")
    if note.resolvable:
        shown |= {
            "resolved": note.resolved_at is not None,
            "resolved_by": views.user_by_id(call.forge, note.resolved_by),
            "resolved_at": when(note.resolved_at),
        }
    if note.position:
        shown |= {"position": note.position, "type": "DiffNote"}
    return shown


def _discussion(call: Call, on: Discussed, talk: Discussion) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": talk.id,
        "individual_note": talk.individual,
        "notes": [_shown(call, on, note) for note in talk.notes],
    }
    if talk.resolvable:
        shown |= {"resolvable": True, "resolved": talk.resolved}
    return shown


def _new(call: Call, body: str, *, resolvable: bool = False) -> Note:
    now = call.state.now()
    return Note(
        id=call.state.next_id("note"),
        body=body,
        author_id=call.user.id,
        created_at=now,
        updated_at=now,
        resolvable=resolvable,
        internal=call.flag("internal") or call.flag("confidential"),
        position=call.params.get("position")
        if isinstance(call.params.get("position"), dict)
        else None,
    )


async def _post(call: Call, on: Discussed, *, into: Discussion | None, individual: bool) -> Any:
    """Writes a note after carrying out its quick actions; one of commands alone stays unwritten."""
    if not call.text("body").strip():
        call.need("body")
        raise ApiError(400, {"message": '400 Bad request - Note {:note=>["can\'t be blank"]}'})
    locked = isinstance(on, Issuable) and on.discussion_locked
    if locked and call.state.access(call.project, call.user) < DEVELOPER:
        raise ApiError(403, "403 Forbidden")
    body, changes = call.text("body"), {}
    if isinstance(on, (Issue, MergeRequest)):
        body, commands = quick_actions.extract(body)
        changes = await quick_actions.execute(call.forge, call.project, on, call.user, commands)
        call.state.publish("note", call.project, on.iid)
        if commands and not body:
            summary = [f"Applied {name} command." for name in changes] or ["Could not apply"]
            return Reply({"commands_changes": changes, "summary": summary}, 202)
    resolvable = isinstance(on, MergeRequest) and not individual
    note = _new(call, body, resolvable=resolvable)
    note.commands = changes
    if into is None:
        key = hashlib.sha1(f"{id(on)}:{note.id}".encode(), usedforsecurity=False).hexdigest()
        into = Discussion(id=key, notes=[], individual=individual)
        on.discussions.append(into)
    into.notes.append(note)
    if isinstance(on, (Issue, MergeRequest)):
        on.updated_at = note.created_at
        payload = payloads.note(call.forge, call.project, on, note)
        call.forge.webhooks.fire(call.project, "note_events", payload)
    return Reply(
        _shown(call, on, note)
        if individual or into.notes[0] is not note
        else _discussion(call, on, into),
        201,
    )


def note_of(call: Call, on: Discussed) -> tuple[Discussion, Note]:
    number = call.segment("note_id")
    for talk in on.discussions:
        for note in talk.notes:
            if note.id == number and call.path.get("discussion_id", talk.id) == talk.id:
                return talk, note
    raise not_found("Note")


def _find(call: Call, on: Discussed) -> Discussion:
    for talk in on.discussions:
        if talk.id == call.path["discussion_id"]:
            return talk
    raise not_found("Discussion")


# --- notes


async def list_notes(call: Call) -> Any:
    on = await talk_of(call)
    found = on.notes
    if call.text("activity_filter") in ("only_comments", "only_activity"):
        activity = call.text("activity_filter") == "only_activity"
        found = [note for note in found if note.system == activity]
    field = "updated_at" if call.text("order_by") == "updated_at" else "created_at"
    down = call.text("sort", "desc") == "desc"
    found = sorted(found, key=lambda note: (getattr(note, field), note.id), reverse=down)
    return [_shown(call, on, note) for note in found]


async def create_note(call: Call) -> Any:
    return await _post(call, await talk_of(call), into=None, individual=True)


async def one_note(call: Call) -> Any:
    on = await talk_of(call)
    return _shown(call, on, note_of(call, on)[1])


async def update_note(call: Call) -> Any:
    on = await talk_of(call)
    note = note_of(call, on)[1]
    mine = note.author_id == call.user.id
    if "resolved" in call.params:
        _resolve(call, [note])
    elif not mine and call.state.access(call.project, call.user) < MAINTAINER:
        raise ApiError(403, "403 Forbidden")
    if call.text("body"):
        note.body = call.text("body")
        note.updated_at = call.state.now()
    return _shown(call, on, note)


async def remove_note(call: Call) -> Any:
    on = await talk_of(call)
    talk, note = note_of(call, on)
    mine = note.author_id == call.user.id
    if not mine and call.state.access(call.project, call.user) < MAINTAINER:
        raise ApiError(403, "403 Forbidden")
    talk.notes.remove(note)
    if not talk.notes:
        on.discussions.remove(talk)
    return Reply(status=204)


# --- discussions


async def list_discussions(call: Call) -> Any:
    on = await talk_of(call)
    return [_discussion(call, on, talk) for talk in on.discussions]


async def create_discussion(call: Call) -> Any:
    return await _post(call, await talk_of(call), into=None, individual=False)


async def one_discussion(call: Call) -> Any:
    on = await talk_of(call)
    return _discussion(call, on, _find(call, on))


async def resolve_discussion(call: Call) -> Any:
    on = await talk_of(call)
    talk = _find(call, on)
    call.need("resolved")
    _resolve(call, talk.notes)
    return _discussion(call, on, talk)


def _resolve(call: Call, notes: list[Note]) -> None:
    done = call.flag("resolved")
    for note in notes:
        if note.resolvable:
            note.resolved_by = call.user.id if done else None
            note.resolved_at = call.state.now() if done else None


async def add_to_discussion(call: Call) -> Any:
    on = await talk_of(call)
    talk = _find(call, on)
    if talk.individual:
        talk.individual = False
    return await _post(call, on, into=talk, individual=False)


for _base in ("issues/{iid}", "merge_requests/{iid}", "repository/commits/{sha}"):
    _root = f"/projects/{{id}}/{_base}"
    _talks = f"{_root}/discussions"
    if "sha" not in _base:
        routes.get(f"{_root}/notes", GUEST)(list_notes)
        routes.post(f"{_root}/notes", GUEST)(create_note)
        routes.get(f"{_root}/notes/{{note_id}}", GUEST)(one_note)
        routes.put(f"{_root}/notes/{{note_id}}", GUEST)(update_note)
        routes.delete(f"{_root}/notes/{{note_id}}", GUEST)(remove_note)
    routes.get(_talks, GUEST)(list_discussions)
    routes.post(_talks, GUEST)(create_discussion)
    routes.get(f"{_talks}/{{discussion_id}}", GUEST)(one_discussion)
    routes.put(f"{_talks}/{{discussion_id}}", DEVELOPER)(resolve_discussion)
    routes.get(f"{_talks}/{{discussion_id}}/notes", GUEST)(one_discussion)
    routes.post(f"{_talks}/{{discussion_id}}/notes", GUEST)(add_to_discussion)
    routes.get(f"{_talks}/{{discussion_id}}/notes/{{note_id}}", GUEST)(one_note)
    routes.put(f"{_talks}/{{discussion_id}}/notes/{{note_id}}", GUEST)(update_note)
    routes.delete(f"{_talks}/{{discussion_id}}/notes/{{note_id}}", GUEST)(remove_note)
