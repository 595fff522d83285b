"""Discussions of a merge request, as GitLab's REST API gives them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from agent.adapters.gitlab_client import Get
from agent.adapters.gitlab_paging import whole
from agent.adapters.gitlab_payloads import Json, integer, record, records, text
from agent.errors import ForgeUnavailable
from agent.ports import Comment, Discussion

_MOST = 1000


async def discussions(get: Get, merge_request: str) -> Sequence[Discussion]:
    too_many = (
        f"The merge request has {_MOST:,} threads or more: too many to be read. Comments "
        "there are not heard any more; tell me in the chat instead."
    )
    listed = await whole(get, f"{merge_request}/discussions", most=_MOST, too_many=too_many)
    return [talk for each in listed if (talk := _discussion(each)).comments]


def _discussion(found: Json) -> Discussion:
    notes = [note for note in records(found.get("notes")) if not note.get("internal")]
    resolvable = [note for note in notes if note.get("resolvable")]
    return Discussion(
        id=text(found, "id"),
        comments=tuple(_comment(note) for note in notes),
        resolvable=bool(resolvable),
        resolved=bool(resolvable) and all(note.get("resolved") for note in resolvable),
    )


def _comment(note: Json) -> Comment:
    author, position = record(note.get("author")), _record(note.get("position"))
    new = bool(position.get("new_line"))
    line: Any = position.get("new_line" if new else "old_line")
    return Comment(
        id=integer(note, "id"),
        author_id=integer(author, "id"),
        author=text(author, "username"),
        text=text(note, "body"),
        at=_moment(text(note, "created_at")),
        system=bool(note.get("system")),
        path=text(position, "new_path" if new else "old_path") or text(position, "new_path"),
        line=line if isinstance(line, int) else None,
    )


def _record(value: Any) -> Json:
    return record(value) if value else {}


def _moment(told: str) -> datetime:
    try:
        moment = datetime.fromisoformat(told)
    except ValueError as error:
        raise ForgeUnavailable("GitLab tells of a comment without a time.") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
