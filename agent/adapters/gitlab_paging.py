"""Lists of GitLab's that come in pages."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence

from agent.adapters.gitlab_client import Get
from agent.adapters.gitlab_payloads import Json, records
from agent.errors import ForgeRejected, ForgeUnavailable

log = logging.getLogger(__name__)

PAGE = 100  #: GitLab gives no more at once
BAD = 2  #: pages in a row that could not be read: then it is not due to the pages


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


async def pages(
    get: Get, path: str, *, most: int, **query: str | int
) -> AsyncGenerator[Sequence[Json] | None]:
    """The first `most` records; None for a page that could not be read, which the log tells of.
    Raises `ForgeUnavailable`, `ForgeRejected`."""
    bad = 0
    for page in range(1, most // PAGE + 1):
        try:
            part = records(await get(path, **query, per_page=PAGE, page=page))
        except ForgeUnavailable as error:
            bad += 1
            if bad == BAD or error.retry_after:
                raise
            log.warning("page_unread", extra={"path": path, "page": page, "problem": str(error)})
            yield None
            continue
        bad = 0
        yield part
        if len(part) < PAGE:
            return
