"""What this service has made in a project: branches by their names, merge requests by author."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from agent.adapters.gitlab_client import Get
from agent.adapters.gitlab_paging import pages
from agent.adapters.gitlab_payloads import Json, text
from agent.errors import ForgeUnavailable


async def branches(get: Get, project: str, prefix: str, most: int) -> Sequence[str]:
    path, newest = f"{project}/repository/branches", "updated_desc"
    found = await _listed(get, path, most, search=f"^{prefix}", sort=newest)
    names = [text(each, "name") for each in found]
    return [name for name in names if name.startswith(prefix)]  # GitLab's search knows no case


async def merge_requests(
    get: Get, project: str, author: int, since: datetime, most: int
) -> Sequence[Json]:
    return await _listed(
        get,
        f"{project}/merge_requests",
        most,
        author_id=author,
        state="all",
        updated_after=since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        order_by="updated_at",
        sort="desc",
    )


async def _listed(get: Get, path: str, most: int, **query: str | int) -> list[Json]:
    """The same record may come twice: what changes meanwhile moves to another page."""
    found: list[Json] = []
    async for page in pages(get, path, most=most, **query):
        if page is None:
            raise ForgeUnavailable("GitLab did not show the whole list.")
        found += page
    return found
