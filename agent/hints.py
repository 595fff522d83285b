"""GitLab says that something happened to a branch: whoever watches it looks sooner."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from agent.errors import NotFound
from agent.events import Committed
from agent.guard import spared
from agent.ports import Store
from agent.run import ENDED, CommitSha, Run, RunId, RunStatus
from agent.succession import owner_of

log = logging.getLogger(__name__)

_BRANCH = re.compile(r"agent/([1-9]\d{0,17})(?:-[0-9a-f]{1,8})?(-revert-\d{1,9})?")
_DELIVERING = frozenset({RunStatus.DELIVERING, RunStatus.WAITING_FOR_APPROVAL})


class HintKind(StrEnum):
    PIPELINE = "pipeline"  # it settled
    PUSHED = "pushed"
    CLOSED = "closed"
    REOPENED = "reopened"
    MERGED = "merged"
    RETARGETED = "retargeted"
    APPROVAL = "approval"  # given or taken back at GitLab itself
    NOTE = "note"
    ADVANCED = "advanced"  # the branch that runs begin on


@dataclass(frozen=True, kw_only=True)
class Hint:
    """`branch` is the source branch; `iid` is 0 where no merge request is named."""

    kind: HintKind
    project: str
    branch: str
    iid: int = 0
    head: CommitSha | None = None  #: of the branch, where a push is told


class Hints:
    """Nothing of what was said is believed: the run asks GitLab itself.

    A hint that is lost costs time and nothing else, and one that comes twice does no harm.
    `on_note` is told of comments on the merge requests of runs that wait for an approval or have
    ended, `on_waiting` of all else that concerns runs that wait, `on_advanced` of new code that
    runs will begin on.
    """

    def __init__(
        self,
        store: Store,
        *,
        on_waiting: Callable[[RunId], Awaitable[None]] | None = None,
        on_note: Callable[[RunId], Awaitable[None]] | None = None,
        on_advanced: Callable[[str, CommitSha], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self.on_waiting = on_waiting
        self.on_note = on_note
        self.on_advanced = on_advanced

    async def hear(self, hint: Hint) -> bool:
        """False when nobody has to look for it."""
        if hint.kind is HintKind.ADVANCED:
            if self.on_advanced is None or hint.head is None:
                return False
            await self.on_advanced(hint.project, hint.head)
            return True
        heard = False
        for run in await self._runs_of(hint):
            with spared(log, "hint_broke", run=run.id, kind=hint.kind):
                heard |= await self._wake(run, hint)
        return heard

    async def _wake(self, run: Run, hint: Hint) -> bool:
        if await self._knows(run, hint):
            return False
        waits = run.status is RunStatus.WAITING_FOR_APPROVAL
        if hint.kind is HintKind.NOTE and (waits or run.status in ENDED) and self.on_note:
            await self.on_note(run.id)
            return True
        if waits and self.on_waiting is not None:
            await self.on_waiting(run.id)
            return True
        return await self._store.hint(run.id)

    async def _runs_of(self, hint: Hint) -> Sequence[Run]:
        """The run whose branch it is. Any other branch may be one that runs deliver to."""
        found = _BRANCH.fullmatch(hint.branch)
        if found is None:
            return await self._store.runs(statuses=_DELIVERING, project=hint.project)
        try:
            run = await self._store.run(RunId(int(found[1])))
        except NotFound:
            return ()
        if run.request.project.lower() != hint.project.lower():
            return ()
        # else it is that of another database's run of that number
        ours = hint.branch == f"{run.branch}{found[2] or ''}"
        return (await owner_of(self._store, run),) if ours else ()

    async def _knows(self, run: Run, hint: Hint) -> bool:
        """GitLab also tells of the run's own pushes."""
        if hint.kind is not HintKind.PUSHED or hint.head is None:
            return False
        made = [
            event.payload.commit
            for event in await self._store.events(run.id)
            if isinstance(event.payload, Committed)
        ]
        return made[-1:] == [hint.head]
