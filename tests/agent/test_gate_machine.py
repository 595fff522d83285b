"""Whatever order people, the clock, GitLab and a second worker act in: nothing is merged that was
not approved, twice, or without a word about it before."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from gate_bench import HEAD, LEE, MIA, PATH, SAM, TOM, GateBench, line
from gate_store import ONE, Forge, Heads, Log, database
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.effects import EffectExecutor
from agent.errors import JourneymanError, Refused
from agent.events import (
    DeliveryBegun,
    EffectDone,
    EffectFailed,
    EffectIntended,
    EffectKind,
    GateClosed,
    GateOpened,
    GateRefused,
    GateVoted,
    InstructionGiven,
    InstructionTaken,
)
from agent.gate import Deed, Gate, Rule
from agent.journal import Journal
from agent.pace import Pace
from agent.ports import MergeRequest, Origin
from agent.refusals import KEPT
from agent.run import ENDED, CommitSha, Person, RunStatus
from agent.service import RunService
from agent.stages.deliver import deliver, goes_on_delivering
from agent.state import RunState, fold
from agent.work import Hold, Lookout

T = TypeVar("T")
OTHER = replace(SAM, id="USAM2")  # the same person at GitLab
PEOPLE = (SAM, OTHER, LEE, MIA, TOM)
POINTS = ("events", "write", "access", "merge_request", "difference", "pipelines", "merge")
LATER = ("heed_freeze", "settle", "claim")
DOINGS = ("approve", "again", "reject", "work", "effects", "instruct", "tend")
MEDDLINGS = (
    *("push", "push", "retarget", "demote", "tighten", "expire", "close"),
    *("reject", "revise", "approve", "again", "instruct", "stop", "tend", "work", "effects"),
    *("anew", "edit"),
)
SPOILERS = (
    *("push", "retarget", "demote", "demote lee", "tighten", "expire", "edit"),
    *("reject", "revise", "stop"),
)


class Delivering(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.store = Log()
        forge = Forge(clone_url="", path=PATH, members={7: 40, 8: 40, 9: 40, 10: 30, 11: 10})
        forge.meddler, forge.witness = self.store.meddler, self.witness
        forge.merge_lines = [line(HEAD)] * 9
        self.bench = GateBench(db=database(self.store), forge=forge, clock=self.store.clock)
        self.forge = forge
        self.merged: list[int] = []
        self.pushes = 0
        self.pushed_at: dict[int, int] = {}  # merge request -> length of the log at its last push
        self.clicks: Counter[tuple[str, str]] = Counter()

    def teardown(self) -> None:
        self.loop.close()

    def do(self, what: Coroutine[Any, Any, T]) -> T:
        """Whoever is refused, overtaken or fenced off comes again, or does not."""
        try:
            return self.loop.run_until_complete(what)
        finally:
            self.store.meddler.waiting = None

    @property
    def state(self) -> RunState:
        return fold(self.store.log)

    def facts(self, kind: type[T]) -> list[T]:
        return [e.payload for e in self.store.log if isinstance(e.payload, kind)]

    @initialize(approvals=st.sampled_from([1, 2]))
    def asks(self, approvals: int) -> None:
        self.settle(approvals)

        async def begin() -> None:
            run = await self.bench.run()
            self.branch = run.branch
            self.forge.branches.update(main=CommitSha("1" * 40), develop=CommitSha("2" * 40))
            self.forge.branches[run.branch] = HEAD
            self.forge.lines.insert(0, line(HEAD))
            made = {"source": run.branch, "target": "develop", "title": "x", "description": ""}
            await self.forge.open_merge_request(PATH, **made)
            begun = DeliveryBegun(
                number=1, kind="change", source=run.branch, target="develop", iid=1, commit=HEAD
            )
            await self.bench.write(run, begun, status=RunStatus.DELIVERING)

        self.do(begin())
        self.pushed_at[1] = len(self.store.log)
        self.do(self.work())

    # --- what each of them does ----------------------------------------------------------

    def settle(self, approvals: int) -> None:
        for branch in ("main", "develop"):
            self.bench.settle(Rule(approvals=approvals), branch)

    async def click(self, by: Person, deed: Deed, which: int = 0, *, revise: bool = False) -> None:
        gates = self.state.gates
        if not gates:
            return
        gate = gates[-1 - which % len(gates)].gate
        self.clicks.update({(gate.id, by.id): 1})
        with suppress(Refused):
            await self.bench.press(gate, by, deed, revise=revise)

    async def work(self) -> None:
        """A worker's look, with the real stage."""
        run = await self.store.claim(ONE, "worker")
        if run is None:
            return
        journal = await Journal.load(self.store, run)  # pyright: ignore[reportArgumentType]
        assert self.bench.project is not None
        lookout = Lookout(forge=self.forge, origin=_origin, pace=Pace(clock=self.store.clock))
        hold = Hold(
            journal=journal,
            vault=Heads(self.forge),  # pyright: ignore[reportArgumentType]
            clock=self.store.clock,
            project=self.bench.project,
            lookout=lookout,
        )
        with suppress(JourneymanError):
            if goes_on_delivering(hold):
                await journal.move(RunStatus.DELIVERING)
            if hold.state.status is RunStatus.DELIVERING:
                await deliver(hold, lookout)
            elif hold.state.status in (RunStatus.QUEUED, RunStatus.WORKING):
                await self._rework(journal)

    async def _rework(self, journal: Journal) -> None:
        """What people said becomes a new commit on the same branch."""
        state = journal.state
        if self.forge.requests[0].state != "opened":
            await journal.move(RunStatus.ESCALATED)
            return
        taken = [InstructionTaken(given=each.seq, step=0) for each in state.waiting_followups]
        if state.status is RunStatus.QUEUED:
            await journal.move(RunStatus.WORKING)
        self.push(1)
        begun = DeliveryBegun(
            number=len(state.deliveries) + 1,
            kind="change",
            source=self.branch,
            target="develop",
            iid=1,
            commit=self.forge.requests[0].sha,
        )
        await journal.write(*taken, begun, status=RunStatus.DELIVERING)

    async def effects(self) -> None:
        executor = EffectExecutor(
            store=self.store,  # pyright: ignore[reportArgumentType]
            vaults=lambda path: Heads(self.forge),  # pyright: ignore[reportArgumentType]
            reader=self.forge,
            writer=self.forge,
            projects=lambda path: self.bench.project,
            clock=self.store.clock,
        )
        with suppress(JourneymanError):
            await executor.run_pending(ONE)

    async def tend(self) -> None:
        await self.bench.keeper().look_after(ONE)

    async def again(self) -> None:
        with suppress(Refused):
            await self.bench.keeper().ask_again(ONE, SAM)

    async def onward(self, kind: Any, by: Person) -> None:
        with suppress(Refused):
            await self.bench.keeper().begin(ONE, kind, by)
        await self.goes_on()

    async def instruct(self) -> None:
        service = RunService(
            store=self.store,  # pyright: ignore[reportArgumentType]
            forge=self.forge,
            projects=lambda path: self.bench.project,
        )
        with suppress(Refused):
            await service.instruct(ONE, "and make it blue", LEE)

    async def stop(self) -> None:
        if self.store.run_row.status not in ENDED:
            service = RunService(
                store=self.store,  # pyright: ignore[reportArgumentType]
                forge=self.forge,
                projects=lambda path: self.bench.project,
            )
            await service.stop(ONE, MIA, how="mention")

    def push(self, iid: int | None = None, status: str = "success") -> None:
        iid = iid or len(self.forge.requests)
        request = self.forge.requests[iid - 1]
        if request.state != "opened":
            return
        self.pushes += 1
        head = CommitSha(f"{self.pushes:040x}")
        self.forge.change(iid, sha=head)
        self.forge.branches[request.source_branch] = head
        self.forge.differences[iid] = b"diff of " + head.encode()
        self.forge.lines.insert(0, line(head, status))
        self.pushed_at[iid] = len(self.store.log)

    def change(self, **values: Any) -> None:
        if self.forge.requests[-1].state == "opened":
            self.forge.change(len(self.forge.requests), **values)

    def meddling(self, what: str) -> Callable[[], Coroutine[Any, Any, None]]:
        async def acts() -> None:
            match what:
                case "push":
                    self.push()
                case "retarget":
                    self.change(target_branch="elsewhere")
                case "edit":  # as a target that moves on does
                    self.forge.differences[len(self.forge.requests)] = b"another difference"
                case "close":
                    self.change(state="closed")
                case "demote":
                    self.forge.members[8] = 30
                case "demote lee":
                    self.forge.members[9] = 30
                case "tighten":
                    self.settle(2)
                case "expire":
                    self.store.clock.hours += 25
                case "reject" | "revise":
                    await self.click(LEE, "reject", revise=what == "revise")
                case "approve":
                    await self.click(SAM, "approve")
                case "again":
                    await self.click(OTHER, "approve")
                case "instruct":
                    await self.instruct()
                case "stop":
                    await self.stop()
                case "tend":
                    await self.tend()
                case "work":
                    await self.work()
                case "anew":
                    self.push()
                    await self.tend()
                    await self.work()
                case _:
                    await self.effects()

        return acts

    def lie_in_wait(self, point: str, what: str) -> None:
        """What no request to GitLab can be bound to is asked right before the deed, and may
        change in that very moment; a push may not, nor may anything that stands in the log."""
        read_before = {"demote", "demote lee", "tighten", "expire", "edit"}
        if what in read_before and point not in ("events", "write", "claim"):
            point = "events"
        if what in ("retarget", "stop") and point == "merge":
            point = "pipelines"
        self.store.meddler.waiting = (point, self.meddling(what))

    async def goes_on(self) -> None:
        """Until people are asked, or the end."""
        for _ in range(6):
            await self.work()
            await self.effects()
            if self.store.run_row.status in ENDED | {RunStatus.WAITING_FOR_APPROVAL}:
                return

    def put_right(self, approvals: int) -> None:
        """Up to an open gate, wherever it stood; else hardly anything would ever be merged."""
        self.settle(approvals)
        self.forge.members[8] = self.forge.members[9] = 40
        self.forge.lines = [replace(each, status="success") for each in self.forge.lines]
        newest, iid = self.state.deliveries[-1], len(self.forge.requests)
        if self.forge.requests[-1].state != "merged" and newest.iid == iid:
            self.forge.change(iid, target_branch=newest.begun.target, state="opened")
        if self.store.run_row.status in ENDED:
            self.do(self.again())
        self.do(self.goes_on())
        if newest.merged and not self.state.gate:
            self.do(self.onward("promotion", TOM))

    def all_approve(self) -> None:
        for each in PEOPLE:
            self.do(self.click(each, "approve"))

    # --- rules -----------------------------------------------------------------------------

    @rule(by=st.sampled_from(PEOPLE), which=st.sampled_from([0, 0, 1]))
    def approves(self, by: Person, which: int) -> None:
        self.do(self.click(by, "approve", which))

    @precondition(lambda self: self.state.gates)
    @rule(by=st.sampled_from(PEOPLE), revise=st.booleans())
    def rejects(self, by: Person, revise: bool) -> None:
        self.do(self.click(by, "reject", revise=revise))

    @precondition(lambda self: self.state.gate)
    @rule(one=st.sampled_from(PEOPLE), other=st.sampled_from(PEOPLE), no=st.booleans())
    def click_at_once(self, one: Person, other: Person, no: bool) -> None:
        async def both() -> None:
            no_or_yes: Deed = "reject" if no else "approve"
            await asyncio.gather(self.click(one, "approve"), self.click(other, no_or_yes))

        self.do(both())

    @rule()
    def is_worked_on(self) -> None:
        self.do(self.work())

    @rule()
    def effects_are_carried_out(self) -> None:
        self.do(self.effects())

    @rule()
    def is_tended(self) -> None:
        self.do(self.tend())

    @rule(approvals=st.sampled_from([1, 2]))
    def all_goes_well(self, approvals: int) -> None:
        self.put_right(approvals)
        self.all_approve()
        self.do(self.goes_on())

    @rule(
        doing=st.sampled_from(DOINGS),
        point=st.sampled_from([*POINTS, *LATER]),
        what=st.sampled_from(MEDDLINGS),
    )
    def act_between(self, doing: str, point: str, what: str) -> None:
        """One has read; another one does something; then the first one goes on."""
        self.lie_in_wait(point, what)
        self.do(self.meddling(doing)())

    @rule(what=st.sampled_from(MEDDLINGS), approvals=st.sampled_from([1, 2]))
    def something_comes_after_the_last_click(self, what: str, approvals: int) -> None:
        self.put_right(approvals)
        self.all_approve()
        self.do(self.meddling(what)())
        self.do(self.goes_on())

    @rule(
        point=st.sampled_from(POINTS),
        what=st.sampled_from(SPOILERS),
        approvals=st.sampled_from([1, 1, 2]),
    )
    def something_comes_before_the_merge(self, point: str, what: str, approvals: int) -> None:
        self.put_right(approvals)
        self.all_approve()
        self.do(self.work())
        self.lie_in_wait(point, what)
        self.do(self.effects())
        self.do(self.goes_on())

    @rule(
        kind=st.sampled_from(["promotion", "promotion", "revert"]), by=st.sampled_from([TOM, LEE])
    )
    @precondition(lambda self: any(d.merged for d in self.state.deliveries))
    def goes_onward(self, kind: Any, by: Person) -> None:
        self.do(self.onward(kind, by))

    @precondition(lambda self: self.store.run_row.status in ENDED)
    @rule(instructed=st.booleans())
    def is_set_going_again(self, instructed: bool) -> None:
        self.do(self.instruct() if instructed else self.again())
        self.do(self.goes_on())

    @rule(what=st.sampled_from(["push", "retarget", "demote", "tighten", "stop", "close"]))
    def happens(self, what: str) -> None:
        self.do(self.meddling(what)())

    @rule(status=st.sampled_from(["failed", "running", "success"]))
    def is_pushed_to(self, status: str) -> None:
        self.push(status=status)

    @rule(hours=st.sampled_from([1, 7, 20]))
    def passes(self, hours: int) -> None:
        self.store.clock.hours += hours

    # --- at the very moment of a merge -----------------------------------------------------

    def witness(self, request: MergeRequest) -> None:
        """Told from raw events and GitLab, not by what the product makes of them."""
        log = self.store.log
        assert request.iid not in self.merged
        self.merged.append(request.iid)
        begun = self.facts(DeliveryBegun)[-1]
        assert request.target_branch == begun.target
        assert self.store.run_row.status is RunStatus.DELIVERING
        intended = [e for e in log if isinstance(e.payload, EffectIntended)]
        intended = [e for e in intended if e.payload.effect is EffectKind.MERGE]
        assert intended
        key = intended[-1].payload.key
        assert key.endswith(str(request.sha))
        outcomes = [e for e in log if isinstance(e.payload, EffectDone | EffectFailed)]
        final = [e for e in outcomes if e.payload.key == key]
        assert all(getattr(e.payload, "retry_in", None) is not None for e in final)
        gate = self._gate_of(request)
        opened = next(e for e in log if e.payload == GateOpened(gate=gate))
        after = [e for e in log if e.seq > opened.seq]
        ends = [e for e in after if getattr(e.payload, "gate", None) == gate.id]
        ends = [e for e in ends if isinstance(e.payload, GateClosed)]
        assert [e.payload.outcome for e in ends] == ["approved"]
        votes = [e for e in after if isinstance(e.payload, GateVoted)]
        votes = [e for e in votes if e.payload.gate == gate.id]
        assert all(e.seq > self.pushed_at.get(request.iid, 0) for e in votes)
        voters = {e.payload.by.gitlab_id for e in votes}
        assert self.bench.project is not None
        settled = self.bench.project.target(begun.target)
        assert settled is not None
        assert len(voters) >= settled.rule.approvals
        assert MIA.gitlab_id not in voters
        assert begun.by is None or begun.by.gitlab_id not in voters
        before = [e.payload for e in log[: intended[-1].seq]]  # later ones are not in it
        given = [p.by.gitlab_id for p in before if isinstance(p, InstructionGiven)]
        assert voters.isdisjoint(given)
        assert all(self.forge.members[who or 0] >= 40 for who in voters)
        shown = self.forge.differences.get(request.iid)
        assert shown is None or hashlib.sha256(shown).hexdigest() == gate.diff
        assert any(p.sha == request.sha and p.status == "success" for p in self.forge.lines)
        assert self.store.clock.now() < gate.expires_at

    def _gate_of(self, request: MergeRequest) -> Gate:
        asked = [each.gate for each in self.facts(GateOpened)]
        assert asked
        gate = asked[-1]
        assert (gate.iid, gate.commit) == (request.iid, request.sha)
        assert (gate.source, gate.target) == (request.source_branch, request.target_branch)
        return gate

    # --- always ------------------------------------------------------------------------------

    @invariant()
    def the_state_is_told_truly(self) -> None:
        state = self.state if self.store.log else None
        if state is None:
            return
        assert state.status is self.store.run_row.status
        assert (state.status is RunStatus.WAITING_FOR_APPROVAL) == (state.gate is not None)
        assert sum(gate.closed is None for gate in state.gates) <= 1
        for each in state.gates:
            ends = [f.outcome for f in self.facts(GateClosed) if f.gate == each.gate.id]
            assert len(ends) <= 1 or ends == ["approved", "rejected"]
            voters = [voter.gitlab_id for voter in each.votes]
            assert len(voters) == len(set(voters))
        told = {d.iid for d in state.deliveries if d.merged}
        assert told <= {r.iid for r in self.forge.requests if r.state == "merged"}
        if state.status is RunStatus.SUCCEEDED:
            assert state.deliveries[-1].iid in told

    @invariant()
    def every_click_is_on_record(self) -> None:
        heard = [*self.facts(GateVoted), *self.facts(GateRefused)]
        heard += [f for f in self.facts(GateClosed) if f.outcome == "rejected"]
        kept = Counter((f.gate, f.by.id) for f in heard if f.by)
        for who, times in self.clicks.items():
            assert kept[who] == times or kept[who] >= KEPT

    @invariant()
    def each_way_has_one_merge_request(self) -> None:
        ways = Counter((r.source_branch, r.target_branch) for r in self.forge.requests)
        assert not ways or max(ways.values()) == 1 or len(self.merged) > 1

    @invariant()
    def nothing_is_done_unannounced(self) -> None:
        """Each deed at GitLab has its intent in the log, and in time its outcome."""
        announced = {f.key for f in self.facts(EffectIntended)}
        assert {f.key for f in self.facts(EffectDone) if not f.found} <= announced
        assert len([f for f in self.facts(EffectDone) if f.effect is EffectKind.MERGE]) == len(
            {f.key for f in self.facts(EffectDone) if f.effect is EffectKind.MERGE}
        )


async def _origin(project: str) -> Origin:
    return Origin(url="")


TestDelivering = Delivering.TestCase
TestDelivering.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
