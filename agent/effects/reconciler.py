"""Compares what stands at GitLab with the logs of runs, and sees to what does not fit."""

from __future__ import annotations

import logging
import random
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from agent.errors import Broken, Conflict, ForgeRejected, NotFound
from agent.events import MismatchFound
from agent.guard import guarded, spared
from agent.hints import Hint, HintKind, Hints
from agent.ports import ForgeReader, ForgeWriter, MergeRequest, Store, Write
from agent.reconcile import (
    PREFIX,
    BranchLeft,
    EffectsAsleep,
    Finding,
    Turn,
    Turned,
    Twice,
    compare,
    run_of,
)
from agent.run import ENDED, RunId, RunStatus
from agent.state import RunState, fold
from agent.succession import owner_of

log = logging.getLogger(__name__)

MOST = 500  #: branches, and merge requests, that one round reads: five pages of each
LOOKS = 50  #: findings that one round asks GitLab about once more
MARGIN = timedelta(hours=1)  #: by which a round looks back further than to the last whole one
FIRST = timedelta(days=7)  #: that the first round looks back


class Runs(Protocol):
    """Raises `StoreUnavailable`."""

    async def any(self, project: str, since: datetime) -> bool:
        """Whether any run has changed since then, or has something outside and has not ended."""
        ...

    async def changed(
        self, project: str, runs: Collection[RunId], since: datetime
    ) -> Sequence[RunId]:
        """Those of them that are the project's, and that have changed since then or go on."""
        ...

    async def wake_effects(self, run: RunId) -> bool: ...

    async def last(self, name: str) -> tuple[datetime | None, datetime]:
        """When what has this name was last done, and what time it is now."""
        ...

    async def made(self, name: str, began: datetime) -> None: ...


@dataclass(kw_only=True)
class Reconciler:
    store: Store
    reader: ForgeReader
    writer: ForgeWriter  #: tells which merge requests are our own; nothing is changed
    runs: Runs
    hints: Hints
    project: str
    _left: int = field(default=LOOKS, init=False)
    _whole: bool = field(default=True, init=False)  #: nothing has been left out of this round

    async def make(self, last: datetime | None, now: datetime) -> bool:
        """One round. False: there was nothing to compare. Raises `Unavailable`."""
        mark = f"reconciled {self.project}"
        whole, _ = await self.runs.last(mark)
        since = whole - MARGIN if whole else now - FIRST
        if not await self.runs.any(self.project, since):
            return False
        self._left, self._whole = LOOKS, True
        try:
            findings = await self._findings(since)
        except ForgeRejected as error:
            self._refused(error)
            return True
        # of more than a round may ask about, none is the last one each time
        for finding in random.sample(findings, len(findings)):
            try:
                with guarded(log, "finding_broke", run=finding.state.run):
                    await self._see_to(finding)
            except (ForgeRejected, Broken) as error:
                self._refused(error, finding.state.run)
        if self._whole:  # else the next round looks back as far as this one
            await self.runs.made(mark, now)
        told = {"project": self.project, "findings": len(findings), "whole": self._whole}
        log.info("reconciled", extra=told)
        return True

    def _refused(self, error: ForgeRejected | Broken, run: RunId | None = None) -> None:
        self._whole = False
        told = {"project": self.project, "run": run, "reason": str(error)}
        log.warning("unreconciled", extra=told)

    async def _findings(self, since: datetime) -> Sequence[Finding]:
        me = await self.writer.me()
        branches = await self.reader.branch_names(self.project, PREFIX, most=MOST)
        requests = await self.reader.merge_requests_of(self.project, me, since=since, most=MOST)
        if max(len(branches), len(requests)) >= MOST:
            self._whole = False
            log.warning("reconciled_in_part", extra={"project": self.project, "most": MOST})
        names = {*branches, *(each.source_branch for each in requests)}
        ids = {run for name in names if (run := run_of(name))}
        states: dict[RunId, RunState] = {}
        for run in await self.runs.changed(self.project, ids, since):
            with spared(log, "run_uncompared", run=run):
                owner = await owner_of(self.store, await self.store.run(run))
                if owner.id not in states:
                    states[owner.id] = fold(await self.store.events(owner.id))
        return compare(list(states.values()), branches, requests)

    async def _see_to(self, finding: Finding) -> None:
        state = finding.state
        match finding:
            case EffectsAsleep():
                woken = await self.runs.wake_effects(state.run)
                log.info("effects_asleep", extra={"run": state.run, "woken": woken})
            case Turned(request=request, what=what) if state.status is RunStatus.WAITING_FOR_ANSWER:
                await self._turned(state, request, what)
            case Turned(request=request, what=what):
                if not self._may_look():
                    return
                kind, branch = HintKind(what), state.branch
                hint = Hint(kind=kind, project=self.project, branch=branch, iid=request.iid)
                heard = await self.hints.hear(hint)
                log.info("merge_request_turned", extra={"run": state.run, "heard": heard})
            case BranchLeft():
                await self._branch_left(state)
            case Twice():
                await self._twice(finding)

    async def _turned(self, state: RunState, request: MergeRequest, what: Turn) -> None:
        """Nobody would look before the answer comes."""
        name, target = f"!{request.iid}", request.target_branch
        was = {
            "merged": f"{name} was merged into {target}",
            "closed": f"{name} was closed",
            "retargeted": f"{name} was given another target, {target},",
        }[what]
        told = (
            f"{was} at GitLab while this waits for you. What was pushed is kept. Answer only if "
            "there is more to do; else stop the run."
        )
        fact = MismatchFound(what=what, reason=told, iids=(request.iid,))
        await self._tell(state, fact)

    async def _branch_left(self, state: RunState) -> None:
        known = any(each.what == "branch_left" for each in state.mismatches)
        if known or not self._may_look() or await self._of_branch(state):
            return
        told = (
            f"The branch {state.branch} of this run stands at GitLab, and no merge request shows "
            "it. It is kept as it is. Say retry here to go on with it, open a merge request "
            "yourself, or delete the branch."
        )
        await self._tell(state, MismatchFound(what="branch_left", reason=told))

    async def _twice(self, finding: Twice) -> None:
        state = finding.state
        told = [each.iids for each in state.mismatches if each.what == "twice"]
        if any(finding.iids <= set(iids) for iids in told) or not self._may_look():
            return
        me = await self.writer.me()
        listed = await self._of_branch(state)
        iids = sorted(r.iid for r in listed if r.state == "opened" and r.author_id == me)
        if len(iids) < 2:
            return
        named = state.merge_request
        own = named.iid if named and named.iid in iids else iids[-1]
        others = " and ".join(f"!{iid}" for iid in iids if iid != own)
        ended = state.status in ENDED
        kept = f"!{own} is the one to keep" if ended else f"I go on with !{own}"
        reason = (
            f"More than one merge request of this run{', which has ended,' if ended else ''} is "
            f"open. {kept}; {others} should be closed. Nothing was changed at either."
        )
        await self._tell(state, MismatchFound(what="twice", reason=reason, iids=tuple(iids)))

    async def _of_branch(self, state: RunState) -> Sequence[MergeRequest]:
        """In every state, as it is now."""
        try:
            return await self.reader.merge_requests(self.project, state.branch)
        except NotFound:
            return ()

    def _may_look(self) -> bool:
        self._left -= 1
        if self._left == -1:
            self._whole = False
            log.warning("reconciled_in_part", extra={"project": self.project, "looks": LOOKS})
        return self._left >= 0

    async def _tell(self, state: RunState, found: MismatchFound) -> None:
        """Once. Where the log has grown meanwhile, the next round looks again."""
        if any((each.what, each.iids) == (found.what, found.iids) for each in state.mismatches):
            return
        more = {"run": state.run, "what": found.what, "iids": found.iids}
        log.error("mismatch_found", extra=more)
        with suppress(Conflict):
            write = Write(payloads=(found,))
            await self.store.write(state.run, write, actor="effects", expect_seq=state.seq)
