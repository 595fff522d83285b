"""Lists of GitLab's that come in pages."""

from __future__ import annotations

from agent.adapters.gitlab_client import Get
from agent.adapters.gitlab_payloads import Json, records
from agent.errors import ForgeRejected

PAGE = 100  #: GitLab gives no more at once


async def whole(get: Get, path: str, *, most: int, too_many: str) -> list[Json]:
    """A part of it would be taken for the whole, so a list of `most` or more raises
    `ForgeRejected` with that sentence."""
    found: list[Json] = []
    for page in range(1, most // PAGE + 1):
        part = records(await get(path, per_page=PAGE, page=page))
        found += part
        if len(part) < PAGE:
            return found
    raise ForgeRejected(too_many)
