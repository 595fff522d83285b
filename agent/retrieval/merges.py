"""Merged merge requests and the issues that they closed, as evidence beside the commits.

Their titles are hostile: they are counted as words, and shown to nobody.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from agent.errors import ForgeRejected, ForgeUnavailable
from agent.retrieval.history import FILES, Change
from agent.run import CommitSha

log = logging.getLogger(__name__)

MOST = 1000  #: the newest ones, that are read at first, and at once
ISSUES = 10  #: of one merge request
LONGEST = 300  #: characters of a title
OVERLAP = timedelta(minutes=1)  #: that is read again, in case that GitLab's clocks differ
_UNKNOWN = 401  #: the token is, and no merge request is to blame

#: What commits brought, of the past of another: a project, that one, and those.
Landed = Callable[[str, CommitSha, Collection[str]], Awaitable[Sequence[Change]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Merged:
    """As GitLab tells of it."""

    iid: int
    title: str
    merged_at: datetime
    updated_at: datetime
    #: By which it came: the one that GitLab made of it, and the last one of its branch. That one
    #: alone: the branch was moved on to it, and it may be a part of what was merged.
    commits: tuple[str, ...]
    closes: bool = False  #: its text may name issues

    @property
    def id(self) -> str:
        return f"!{self.iid}"


@dataclass(frozen=True, kw_only=True)
class Page:
    merged: Sequence[Merged]
    whole: bool = True  #: else a part of it, or all of it, could not be read


class Forge(Protocol):
    """Raises `ForgeUnavailable`, `ForgeRejected`."""

    def merged(self, project: str, *, since: datetime | None, most: int) -> AsyncGenerator[Page]:
        """Those that were changed last, first."""
        ...

    async def closed_issues(self, project: str, iid: int) -> Sequence[str]:
        """Their titles."""
        ...

    async def merged_paths(self, project: str, iid: int, most: int) -> Sequence[str]:
        """Of the files that it changed; none when they are more."""
        ...


class MergeStore(Protocol):
    """Raises `StoreUnavailable`."""

    async def read_until(self, project: str) -> datetime | None: ...

    async def read(self, project: str, until: datetime) -> None: ...

    async def unknown(self, project: str, merged: Sequence[Merged]) -> Sequence[Merged]:
        """Those that were changed since they were kept, or never were."""
        ...

    async def keep(self, project: str, told: Sequence[tuple[Merged, str]]) -> None:
        """Each with its title and those of the issues that it closed, a line each."""
        ...

    async def waiting(self, project: str, most: int) -> Sequence[Change]:
        """The newest of those that came by no commit that was known; without paths."""
        ...

    async def land(self, project: str, changes: Sequence[Change]) -> None:
        """One without paths is no evidence and is dropped."""
        ...


@dataclass(frozen=True, kw_only=True)
class Merges:
    forge: Forge
    store: MergeStore
    landed: Landed

    async def learn(self, project: str, commit: CommitSha) -> int:
        """How many became evidence. A GitLab that refuses or is away is told in the log, and what
        it has told before is used. Raises `GitFailed`, `StoreUnavailable`."""
        try:
            await self._read(project)
        except (ForgeUnavailable, ForgeRejected) as error:
            log.warning("merges_unread", extra={"project": project, "problem": str(error)})
        return await self._land(project, commit)

    async def _read(self, project: str) -> None:
        since = await self.store.read_until(project)
        after = since - OVERLAP if since else None
        seen, whole, failures, refused = [since] if since else [], True, 0, 0
        async for page in self.forge.merged(project, since=after, most=MOST):
            whole = whole and page.whole
            seen += [each.updated_at for each in page.merged]
            for each in await self.store.unknown(project, page.merged):
                try:
                    title = await self._titles(project, each)
                except ForgeUnavailable as error:
                    failures += 1
                    if failures > 1:
                        raise
                    told = {"project": project, "merge_request": each.iid, "problem": str(error)}
                    log.warning("merge_unread", extra=told)
                    whole = False
                    continue
                except ForgeRejected as error:
                    if error.status == _UNKNOWN:
                        raise
                    if not refused:  # in a project without issues it is each of them
                        about = {"project": project, "merge_request": each.iid}
                        log.warning("issues_refused", extra={**about, "problem": str(error)})
                    refused += 1
                    title = _line(each.title)
                failures = 0
                await self.store.keep(project, [(each, title)])
        if whole and seen:
            await self.store.read(project, max(seen))

    async def _titles(self, project: str, merged: Merged) -> str:
        titles = [merged.title]
        if merged.closes:
            titles += (await self.forge.closed_issues(project, merged.iid))[:ISSUES]
        return "\n".join(map(_line, titles))

    async def _land(self, project: str, commit: CommitSha) -> int:
        waiting = await self.store.waiting(project, MOST)
        wanted = {id for each in waiting for id in each.commits}
        brought = {each.id: each for each in await self.landed(project, commit, wanted)}
        landed: list[Change] = []
        for each in waiting:
            by = next((brought[id] for id in each.commits if id in brought), None)
            if by is None:
                continue
            if len(each.commits) > 1 and by.id == each.commits[0]:
                landed.append(replace(each, at=by.at, paths=by.paths))
            else:  # the commit is older than the merge
                paths = await self._paths(project, each) or by.paths
                landed.append(replace(each, at=max(each.at, by.at), paths=paths))
        await self.store.land(project, landed)
        return len(landed)

    async def _paths(self, project: str, change: Change) -> tuple[str, ...]:
        try:
            found = await self.forge.merged_paths(project, int(change.id[1:]), FILES)
        except (ForgeUnavailable, ForgeRejected) as error:
            told = {"project": project, "merge_request": change.id, "problem": str(error)}
            log.warning("merge_unread", extra=told)
            return ()
        return tuple(found)


def _line(title: str) -> str:
    return " ".join(title[:LONGEST].split())
