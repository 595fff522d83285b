"""What people decide at gates. Every click leaves a fact; whatever cannot be checked is a no."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Literal

from agent import failpoints, onward
from agent.access import checked
from agent.changing import messages
from agent.checks import Case, Refusal, checks_of, outdated, refusal
from agent.decision import approval, expiry, given_before, moot, rejection, unmerged_change
from agent.delivery import GateState
from agent.errors import Conflict, JourneymanError, Refused, StoreUnavailable, Unrecorded
from agent.events import (
    DeliveryBegun,
    GateRefused,
    GateReminded,
    RunEvent,
    StatusChanged,
)
from agent.gate import Click, Deed, GateId, Place
from agent.ports import Clock, ForgeReader, Store, Write
from agent.project import Projects
from agent.refusals import Refusals, told_before
from agent.run import Person, Run, RunId, RunStatus, Thread
from agent.service import RunService
from agent.state import RunState, fold

log = logging.getLogger("journeyman.gates")

TRIES = 25  #: others may click in the same moment, and each time all is checked again
AGAIN = 3600.0  #: seconds after which a difference is read again, whatever GitLab says of it
HINTED = 15.0  #: seconds between two looks that hints bring about
REMIND = 4  #: after this part of the time that there is

#: Where the message of a slot stands; None: nowhere.
Cards = Callable[[RunId, str], Awaitable[Place | None]]


class Gatekeeper:
    def __init__(
        self, *, store: Store, forge: ForgeReader, projects: Projects, clock: Clock, cards: Cards
    ) -> None:
        self._store = store
        self._forge = forge
        self._projects = projects
        self._clock = clock
        self._cards = cards
        self._runs = RunService(store=store, forge=forge, projects=projects)
        self._hinted: dict[RunId, float] = {}
        #: by gate: when its difference was read last, and of which commits
        self._read: dict[GateId, tuple[float, str]] = {}
        self._refusals = Refusals(store)

    # --- people --------------------------------------------------------------------------

    async def decide(self, click: Click) -> Run:
        """Raises `Refused`, with the sentence that the log has."""
        for _ in range(TRIES):
            try:
                case = await self._case(click)
            except JourneymanError as error:
                told = f"I could not check this, so nothing was decided: {error}"
                said = Refusal(check="record", sentence=f"{told} Press again in a moment.")
                raise await self._no(click, said) from error
            if case is None:
                log.warning("gate_unknown", extra={"gate": click.gate[:40], "by": click.by.id})
                raise Refused("I know no such request, so nothing was decided.")
            if given_before(case, click):
                row = await self._store.run(case.state.run)
                return await self._revised(row, case, click)
            if told := told_before(case.events, click.message):
                raise Refused(told)
            if said := await refusal(case, checks_of(case, revise=click.revise)):
                raise await self._no(click, said)
            failpoints.reached("decide", "before_call", StoreUnavailable)
            try:
                row = await self._write(case, click)
            except Conflict:
                continue  # whoever was first is told of in the next refusal
            failpoints.reached("decide", "after_call", StoreUnavailable)
            log.info("gate_clicked", extra={"run": row.id, "gate": click.gate, "deed": click.deed})
            return await self._revised(row, case, click)
        told = "This is changing all the time; nothing was decided. Press again."
        raise await self._no(click, Refusal(check="record", sentence=told))

    async def refused(
        self, gate: GateId, by: Person, deed: Deed, check: str, reason: str, *, message: str = ""
    ) -> None:
        """Keeps a click that decided nothing, nor will when it comes again."""
        log.warning(
            "gate_refused", extra={"gate": gate[:40], "by": by.id, "deed": deed, "check": check}
        )
        run = await self._store.run_of_gate(gate)
        if run is None:
            return
        fact = GateRefused(gate=gate, by=by, deed=deed, check=check, reason=reason, message=message)
        await self._refusals.keep(run, fact)

    async def begin(
        self,
        run: RunId,
        kind: Literal["promotion", "revert"],
        by: Person,
        *,
        thread: Thread | None = None,
        message: str = "",
    ) -> Run:
        """The merge request is opened, and its gate, by whoever works on the run next. `thread`:
        where a button was pressed."""
        deed = "promote changes of" if kind == "promotion" else "revert changes of"
        row = await self._store.run(run)
        _at_home(row, by, thread)
        project = self._projects(row.request.project)
        by = await checked(self._forge, row.request.project, by, deed)
        make = onward.promotion if kind == "promotion" else onward.revert
        return await self._onward(run, by, lambda state: make(state, project, by), message)

    async def ask_again(
        self, run: RunId, by: Person, *, thread: Thread | None = None, message: str = ""
    ) -> Run:
        """After a request that came to nothing."""
        row = await self._store.run(run)
        _at_home(row, by, thread)
        by = await checked(self._forge, row.request.project, by, "ask again for changes of")
        events = await self._store.events(run)
        if message not in messages(events) and onward.again(fold(events)) is None:
            return await self._runs.retry(run, by, message=message)
        return await self._onward(run, by, onward.again, message)

    # --- the clock -----------------------------------------------------------------------

    async def hinted(self, run: RunId) -> None:
        """GitLab tells of whatever anybody pushes, as often as they push; what is put off here
        the clock looks at within the minute."""
        now = self._clock.monotonic()
        if now - self._hinted.get(run, -HINTED) < HINTED:
            return
        self._hinted = {r: at for r, at in self._hinted.items() if now - at < HINTED} | {run: now}
        await self.look_after(run)

    async def look_after(self, run: RunId) -> None:
        """Ends what expired, reminds once, and closes what was made for something that is no
        longer so. Does nothing where somebody else was first."""
        events = await self._store.events(run)
        state = fold(events)
        gate = state.gate
        if gate is None or state.status is not RunStatus.WAITING_FOR_APPROVAL:
            return
        write = await self._due(state, events, gate)
        if write is None:
            return
        with suppress(Conflict):
            await self._store.write(run, write, actor="schedule", expect_seq=state.seq)
            log.info("gate_looked_after", extra={"run": run, "gate": gate.gate.id})

    async def _due(
        self, state: RunState, events: Sequence[RunEvent], gate: GateState
    ) -> Write | None:
        now, until = self._clock.now(), gate.gate.expires_at
        if now >= until:
            return expiry(gate)
        case = Case(
            gate=gate,
            state=state,
            events=events,
            by=state.request.requester,
            project=self._projects(gate.gate.project),
            frozen=None,
            forge=self._forge,
            now=now,
        )
        try:
            if reason := await self._outdated(case):
                return moot(gate, reason)
        except JourneymanError as error:
            log.warning("gate_unseen", extra={"run": state.run, "reason": str(error)})
            return None
        if not gate.reminded and now >= gate.opened_at + (until - gate.opened_at) / REMIND:
            return Write(payloads=(GateReminded(gate=gate.gate.id),))
        return None

    async def _outdated(self, case: Case) -> str | None:
        """The difference is read only where it may be another one than at the last look."""
        gate, now = case.gate.gate, self._clock.monotonic()
        request = await self._forge.merge_request(gate.project, gate.iid)
        self._read = {g: kept for g, kept in self._read.items() if now - kept[0] < AGAIN}
        _, compared = self._read.get(gate.id, (now, ""))
        same = bool(compared) and compared == request.compared
        known = ("difference",) if same else ()
        reason = await outdated(replace(case, request=request), known=known)
        if reason is None and not same:
            self._read[gate.id] = now, request.compared
        return reason

    # --- parts ---------------------------------------------------------------------------

    async def _case(self, click: Click) -> Case | None:
        run = await self._store.run_of_gate(click.gate)
        if run is None:
            return None
        events = await self._store.events(run)
        state = fold(events)
        gate = next((each for each in state.gates if each.gate.id == click.gate), None)
        if gate is None:
            return None
        return Case(
            gate=gate,
            state=state,
            events=events,
            by=click.by,
            deed=click.deed,
            reason=click.reason,
            pressed=click.place,
            card=await self._cards(run, f"gate:{click.gate}"),
            project=self._projects(gate.gate.project),
            frozen=await self._store.frozen(gate.gate.project),
            forge=self._forge,
            now=self._clock.now(),
        )

    async def _write(self, case: Case, click: Click) -> Run:
        if case.by.gitlab_id is not None:
            with suppress(JourneymanError):  # for the record; the right was checked before
                level = await self._forge.access(case.gate.gate.project, case.by.gitlab_id)
                case = replace(case, by=replace(case.by, access=level))
        write = approval(case) if click.deed == "approve" else rejection(case, click)
        run = case.state.run
        return await self._store.write(run, write, actor=click.by.id, expect_seq=case.state.seq)

    async def _revised(self, row: Run, case: Case, click: Click) -> Run:
        """What was merged is not revised on its branch: that is a run of its own."""
        if not (click.deed == "reject" and click.revise) or unmerged_change(case.state, case.gate):
            return row
        try:
            key = f"gate:{click.gate}"
            return await self._runs.instruct(row.id, click.reason, click.by, message=key)
        except JourneymanError as error:
            raise Refused(
                f"It is rejected, but the revision could not be started: {error} Mention me in "
                "the thread with what should be different."
            ) from error

    async def _no(self, click: Click, said: Refusal) -> Refused:
        gate, told = click.gate, said.sentence
        try:
            await self.refused(gate, click.by, click.deed, said.check, told, message=click.message)
        except JourneymanError as error:
            log.warning("gate_refused_unkept", extra={"gate": gate, "reason": str(error)})
            return Unrecorded(told)
        return Refused(told)

    async def _onward(
        self,
        run: RunId,
        by: Person,
        make: Callable[[RunState], DeliveryBegun | None],
        message: str,
    ) -> Run:
        for _ in range(TRIES):
            events = await self._store.events(run)
            if message in messages(events):
                return await self._store.run(run)
            state = fold(events)
            begun = make(state)
            if begun is None:
                break
            reason = f"@{by.name} asked for the {begun.kind} to `{begun.target}`."
            on = StatusChanged(status=RunStatus.QUEUED, reason=reason, message=message)
            write = Write(payloads=(begun, on), wake=True)
            with suppress(Conflict):
                return await self._store.write(run, write, actor=by.id, expect_seq=state.seq)
        raise Refused("This run is changing all the time; press again in a moment.")


def _at_home(row: Run, by: Person, thread: Thread | None) -> None:
    """A button of another thread names a run that it was not made for."""
    if thread is not None and thread != row.request.thread:
        log.warning("button_elsewhere", extra={"run": row.id, "by": by.id})
        raise Refused(
            "This button is not the one in the run's own thread, so nothing was done. Press it "
            "there."
        )
