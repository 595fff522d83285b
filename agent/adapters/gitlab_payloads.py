"""GitLab's JSON as the records of the ports. What is missing or of another type is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from agent.errors import ForgeUnavailable
from agent.pipeline import Pipeline
from agent.ports import MergeRequest
from agent.run import CommitSha

Json = Mapping[str, Any]


def merge_request(project: str, found: Json) -> MergeRequest:
    state = text(found, "state")
    if state not in ("opened", "closed", "merged", "locked"):
        raise ForgeUnavailable(f"GitLab tells of a merge request in the unknown state “{state}”.")
    author: Any = found.get("author")
    newest: Any = found.get("head_pipeline")
    merger: Any = found.get("merge_user") or found.get("merged_by")
    return MergeRequest(
        project=project,
        iid=integer(found, "iid"),
        url=text(found, "web_url"),
        title=text(found, "title"),
        description=text(found, "description"),
        state=state,
        draft=bool(found.get("draft")),
        source_branch=text(found, "source_branch"),
        target_branch=text(found, "target_branch"),
        sha=CommitSha(text(found, "sha")) if found.get("sha") else None,
        author_id=integer(record(author), "id") if author else None,
        pipeline=pipeline_of(record(newest)) if newest else None,
        project_id=integer(found, "project_id"),
        detailed_status=text(found, "detailed_merge_status"),
        merged=_merged(found) if state == "merged" else None,
        merged_by=integer(record(merger), "id") if state == "merged" and merger else None,
        merges_itself=state == "opened" and found.get("merge_when_pipeline_succeeds") is True,
        comments=integer(found, "user_notes_count") if "user_notes_count" in found else 0,
        target_changed=state == "opened" and not _settled(found),
        compared=_compared(found) if _settled(found) else "",
    )


def _merged(found: Json) -> CommitSha | None:
    """A fast-forward has no commit of its own."""
    names = ("merge_commit_sha", "squash_commit_sha", "sha")
    return next((CommitSha(text(found, name)) for name in names if found.get(name)), None)


def _settled(found: Json) -> bool:
    """Whether GitLab has worked out the difference of what its `sha` names; lists do not tell."""
    if found.get("detailed_merge_status") == "preparing":
        return False
    if "prepared_at" in found and found["prepared_at"] is None:
        return False
    if "diff_refs" not in found:
        return True
    refs: Any = found["diff_refs"]
    return bool(refs) and text(record(refs), "head_sha") == text(found, "sha")


def _compared(found: Json) -> str:
    refs = record(found.get("diff_refs") or {})
    names = [text(refs, f"{name}_sha") for name in ("base", "start", "head")]
    return " ".join(names) if all(names) else ""


def pipeline_of(found: Json) -> Pipeline:
    return Pipeline(
        id=integer(found, "id"),
        sha=CommitSha(text(found, "sha")),
        ref=text(found, "ref"),
        source=text(found, "source"),
        status=text(found, "status"),
        url=text(found, "web_url"),
    )


def record(value: Any) -> Json:
    if not isinstance(value, dict):
        raise ForgeUnavailable("GitLab gave an answer of an unexpected form.")
    return cast("Json", value)


def records(value: Any) -> Sequence[Json]:
    if not isinstance(value, list):
        raise ForgeUnavailable("GitLab gave an answer of an unexpected form.")
    return [record(item) for item in cast("list[Any]", value)]


def text(found: Json, key: str) -> str:
    value: Any = found.get(key)
    return value if isinstance(value, str) else ""


def integer(found: Json, key: str) -> int:
    value: Any = found.get(key)
    if not isinstance(value, int):
        raise ForgeUnavailable(f"GitLab's answer lacks “{key}”.")
    return value


def words(message: object) -> str:
    """GitLab explains itself in texts, lists and tables of lists."""
    if isinstance(message, bytes):
        message = message.decode("utf-8", "replace")
    if isinstance(message, dict):
        table = cast("dict[object, object]", message)
        message = ", ".join(f"{key} {words(value)}" for key, value in table.items())
    if isinstance(message, list | tuple):
        message = ", ".join(words(item) for item in cast("Sequence[object]", message))
    return " ".join(str(message).split()).rstrip(".")[:500]
