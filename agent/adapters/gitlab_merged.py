"""Merge requests that were merged, and what they closed, as evidence for the search of code."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime

from agent.adapters.gitlab_client import Get
from agent.adapters.gitlab_paging import PAGE, pages
from agent.adapters.gitlab_payloads import Json, integer, records, text
from agent.errors import ForgeUnavailable
from agent.retrieval.merges import ISSUES, Merged, Page

log = logging.getLogger(__name__)

_ISSUE = re.compile(r"#\d|(issues|work_items)/\d")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


async def merged(
    get: Get, project: str, *, since: datetime | None, most: int
) -> AsyncGenerator[Page]:
    """Those that were changed last, first."""
    query: dict[str, str | int] = {"state": "merged", "order_by": "updated_at", "sort": "desc"}
    if since is not None:
        query["updated_after"] = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    async for page in pages(get, f"{project}/merge_requests", most=most, **query):
        if page is None:
            yield Page(merged=(), whole=False)
            continue
        found: list[Merged] = []
        for each in page:
            try:
                found.append(_merged(each))
            except (ForgeUnavailable, ValueError, OverflowError) as error:
                log.warning("merge_unread", extra={"project": project, "problem": str(error)})
        yield Page(merged=[each for each in found if each.commits])


async def closed_issues(get: Get, merge_request: str) -> Sequence[str]:
    """Titles of those that everybody in the project may see."""
    found = records(await get(f"{merge_request}/closes_issues", per_page=ISSUES))
    return [text(each, "title") for each in found if not each.get("confidential")]


async def merged_paths(get: Get, merge_request: str, most: int) -> Sequence[str]:
    found = records(await get(f"{merge_request}/diffs", per_page=min(most + 1, PAGE)))
    named = {text(each, key) for each in found for key in ("old_path", "new_path")} - {""}
    return sorted(named) if len(found) <= most else ()


def _merged(found: Json) -> Merged:
    names = ("merge_commit_sha", "squash_commit_sha", "sha")
    commits = dict.fromkeys(text(found, name) for name in names)
    title = text(found, "title")
    return Merged(
        iid=integer(found, "iid"),
        title=title,
        merged_at=_moment(text(found, "merged_at") or text(found, "updated_at")),
        updated_at=_moment(text(found, "updated_at")),
        commits=tuple(commit for commit in commits if _COMMIT.fullmatch(commit)),
        closes=_ISSUE.search(f"{title}\n{text(found, 'description')}") is not None,
    )


def _moment(said: str) -> datetime:
    """Raises `ValueError`."""
    moment = datetime.fromisoformat(said)
    if moment.tzinfo is None:
        raise ValueError(f"GitLab tells of a time without its zone: {said}.")
    return moment
