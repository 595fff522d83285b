"""Whatever order people, the clock and GitLab act in: nothing is merged that was not approved."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from gate_bench import HEAD, LEE, MIA, PATH, SAM, TOM, Ahead, GateBench, line, make_forge
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.errors import Conflict, JourneymanError, Refused
from agent.events import (
    EffectFailed,
    EffectIntended,
    EffectKind,
    GateClosed,
    GateOpened,
    GateRefused,
    GateVoted,
    Payload,
    RunAccepted,
    RunClaimed,
    RunEnded,
    RunEvent,
    StatusChanged,
)
from agent.gate import Deed, Gate, GateId, Rule
from agent.gatekeeper import KEPT
from agent.ports import Write
from agent.run import (
    ENDED,
    TRANSITIONS,
    CommitSha,
    Digest,
    Limits,
    Person,
    Request,
    Run,
    RunId,
    RunStatus,
)
from agent.state import fold

T = TypeVar("T")
DAY = timedelta(days=1)
PEOPLE = (SAM, replace(SAM, id="USAM2"), LEE, MIA, TOM)


class Log:
    """One run, in memory, with the promises of the store about conflicts and states."""

    def __init__(self) -> None:
        self.log: list[RunEvent] = []
        self.clock = Ahead()
        self.row: Run | None = None

    async def create(self, key: str, request: Request, limits: Limits) -> tuple[Run, bool]:
        now = self.clock.now()
        self.row = Run(
            id=RunId(1),
            request=request,
            status=RunStatus.QUEUED,
            created_at=now,
            updated_at=now,
        )
        self._add(RunAccepted(request=request, limits=limits))
        return self.row, True

    async def claim(self, run: RunId, worker: str) -> Run | None:
        self._add(RunClaimed(worker=worker, epoch=1))
        return self.row

    async def run(self, run: RunId) -> Run:
        assert self.row is not None
        return self.row

    async def events(self, run: RunId, *, after: int = 0) -> list[RunEvent]:
        await asyncio.sleep(0)
        return self.log[after:]

    async def frozen(self, project: str) -> None:
        return None

    async def hint(self, run: RunId) -> bool:
        return True

    async def run_of_gate(self, gate: GateId) -> RunId | None:
        opened = (e.payload for e in self.log)
        found = any(isinstance(p, GateOpened) and p.gate.id == gate for p in opened)
        return RunId(1) if found else None

    async def write(
        self,
        run: RunId,
        write: Write,
        *,
        actor: str,
        expect_seq: int | None = None,
        **_: Any,
    ) -> Run:
        assert self.row is not None
        if expect_seq not in (None, len(self.log)):
            raise Conflict("Something else happened.")
        payloads = [*write.payloads]
        if write.status and not any(isinstance(p, StatusChanged | RunEnded) for p in payloads):
            payloads.append(StatusChanged(status=write.status))
        status = self.row.status
        for payload in payloads:
            if isinstance(payload, StatusChanged | RunEnded):
                if payload.status not in TRANSITIONS[status]:
                    raise Conflict(f"{status} cannot become {payload.status}.")
                status = payload.status
        self.row = replace(self.row, status=status)
        for payload in payloads:
            self._add(payload)
        return self.row

    def _add(self, payload: Payload) -> None:
        event = RunEvent(
            run=RunId(1),
            seq=len(self.log) + 1,
            at=self.clock.now(),
            actor="test",
            payload=payload,
            hash="",
        )
        self.log.append(event)


class Database:
    def __init__(self) -> None:
        self.store = Log()


class Delivering(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.bench = GateBench(db=Database(), forge=make_forge())  # pyright: ignore[reportArgumentType]
        self.bench.clock = self.bench.db.store.clock  # pyright: ignore[reportAttributeAccessIssue]
        self.gates: list[Gate] = []
        self.merges = 0
        self.pushes = 0
        self.clicks: Counter[tuple[str, str]] = Counter()

    def teardown(self) -> None:
        self.loop.close()

    def do(self, what: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(what)

    @property
    def log(self) -> list[RunEvent]:
        return self.bench.db.store.log  # pyright: ignore[reportAttributeAccessIssue]

    def facts(self, kind: type[T]) -> list[T]:
        return [e.payload for e in self.log if isinstance(e.payload, kind)]

    @initialize(approvals=st.sampled_from([1, 2]))
    def opens(self, approvals: int) -> None:
        self.bench.settle(Rule(approvals=approvals))
        self.run, gate = self.do(self.bench.waiting())
        self.gates.append(gate)

    # --- people ------------------------------------------------------------------------

    @rule(by=st.sampled_from(PEOPLE), which=st.integers(0, 3))
    def approve(self, by: Any, which: int) -> None:
        self._click(self.gates[-1 - which % len(self.gates)], by, "approve")

    @rule(by=st.sampled_from(PEOPLE), revise=st.booleans())
    def reject(self, by: Any, revise: bool) -> None:
        self._click(self.gates[-1], by, "reject", revise=revise)

    @rule()
    def all_approve(self) -> None:
        for each in PEOPLE:
            self.approve(each, 0)

    @rule(one=st.sampled_from(PEOPLE), other=st.sampled_from(PEOPLE))
    def at_once(self, one: Any, other: Any) -> None:
        async def both() -> None:
            gate = self.gates[-1]
            await asyncio.gather(
                self.bench.press(gate, one),
                self.bench.press(gate, other, "reject"),
                return_exceptions=True,
            )

        self.clicks.update({(self.gates[-1].id, one.id): 1})
        self.clicks.update({(self.gates[-1].id, other.id): 1})
        self.do(both())

    def _click(self, gate: Gate, by: Person, deed: Deed, *, revise: bool = False) -> None:
        self.clicks.update({(gate.id, by.id): 1})
        with suppress(Refused):
            self.do(self.bench.press(gate, by, deed, revise=revise))

    # --- GitLab ------------------------------------------------------------------------

    @rule(green=st.booleans())
    def push(self, green: bool) -> None:
        self.pushes += 1
        head = CommitSha(f"{self.pushes:040x}")
        if self.bench.forge.requests[0].state == "opened":
            self.bench.forge.change(1, sha=head)
            self.bench.forge.differences[1] = head.encode()
            self.bench.forge.lines.insert(0, line(head, "success" if green else "failed"))

    @rule(branch=st.sampled_from(["main", "main", "develop"]))
    def retarget(self, branch: str) -> None:
        if self.bench.forge.requests[0].state == "opened":
            self.bench.forge.change(1, target_branch=branch)

    @rule(who=st.sampled_from([8, 9]), level=st.sampled_from([30, 40, 40]))
    def changes_role(self, who: int, level: int) -> None:
        self.bench.forge.members[who] = level

    @rule(approvals=st.sampled_from([1, 2]))
    def changes_rule(self, approvals: int) -> None:
        self.bench.settle(Rule(approvals=approvals))

    # --- the clock and the machinery ---------------------------------------------------

    @rule(hours=st.sampled_from([1, 7, 20]))
    def passes(self, hours: int) -> None:
        self.bench.clock.hours += hours

    @rule()
    def looks_after(self) -> None:
        self.do(self.bench.keeper().look_after(self.run.id))

    @precondition(lambda self: self.bench.db.store.row.status in ENDED | {RunStatus.QUEUED})
    @rule()
    def is_set_going_again(self) -> None:
        """People ask for more, and the branch gets a new commit."""
        if self.bench.db.store.row.status in ENDED:
            self.do(self.bench.write(self.run, status=RunStatus.QUEUED))
        self.do(self.bench.write(self.run, status=RunStatus.DELIVERING))
        self.push(green=True)

    @precondition(lambda self: self.bench.db.store.row.status is RunStatus.DELIVERING)
    @rule(pushed_between=st.booleans(), rejected_between=st.booleans())
    def delivers(self, pushed_between: bool, rejected_between: bool) -> None:
        """The effect plane merges what was approved; else the gate is opened anew."""
        state = fold(self.log)
        newest = state.gates[-1]
        merged = self.bench.forge.requests[0].state == "merged"
        if newest.approved and not merged and self._merge(newest, pushed_between, rejected_between):
            return
        request = self.bench.forge.requests[0]
        still = self.bench.db.store.row.status is RunStatus.DELIVERING
        if still and request.state == "opened" and request.target_branch == "main":
            self._ask_anew(newest.gate, request.sha or HEAD)

    @rule(between=st.sampled_from(["nothing", "push", "move", "demote", "tighten", "expire"]))
    def goes_all_the_way(self, between: str) -> None:
        """With something in the way between the last click and the deed."""
        if self.bench.db.store.row.status in ENDED | {RunStatus.QUEUED}:
            self.is_set_going_again()
        if self.bench.db.store.row.status is RunStatus.DELIVERING:
            self.delivers(False, False)
        self.all_approve()
        match between:
            case "push":
                self.push(True)
            case "move":
                self.retarget("develop")
            case "demote":
                self.changes_role(8, 30)
            case "tighten":
                self.changes_rule(2)
            case "expire":
                self.passes(25)
            case _:
                pass
        if self.bench.db.store.row.status is RunStatus.DELIVERING:
            self.delivers(False, False)

    def _merge(self, newest: Any, pushed_between: bool, rejected_between: bool) -> bool:
        gate, seq = newest.gate, len(self.log)
        key = f"1:merge:{seq}"
        if rejected_between:  # after the log was read, before the deed is announced
            self._click(gate, LEE, "reject")
        intended = EffectIntended(key=key, effect=EffectKind.MERGE, subject="merge")
        write = Write(payloads=(intended,))
        try:
            self.do(self.bench.db.store.write(RunId(1), write, actor="effects", expect_seq=seq))
        except Conflict:
            return False
        if not self.do(self.bench.stands(self.run, gate)):
            if pushed_between:
                self.push(green=True)
            try:
                self.do(self.bench.forge.merge(PATH, 1, gate.commit))
            except JourneymanError:
                pass
            else:
                self._merged(newest)
                return True
        failed = EffectFailed(key=key, effect=EffectKind.MERGE, problem="No.")
        self.do(self.bench.write(self.run, failed))
        return False

    def _ask_anew(self, old: Gate, head: CommitSha) -> None:
        assert self.bench.project is not None
        rule = self.bench.project.target("main")
        policy = self.bench.project.settled("main")
        assert rule is not None
        assert policy is not None
        shown = self.do(self.bench.forge.difference(PATH, 1))
        gate = replace(
            old,
            id=GateId(secrets.token_hex(16)),
            commit=head,
            diff=Digest(hashlib.sha256(shown).hexdigest()),
            policy=policy,
            rule=rule.rule,
            expires_at=self.bench.clock.now() + DAY,
        )
        self.gates.append(gate)
        opened = GateOpened(gate=gate)
        self.do(self.bench.write(self.run, opened, status=RunStatus.WAITING_FOR_APPROVAL))

    def _merged(self, newest: Any) -> None:
        """At this very moment everything that was promised must be so."""
        self.merges += 1
        gate, request = newest.gate, self.bench.forge.requests[0]
        assert self.merges == 1
        assert request.sha == gate.commit
        assert request.target_branch == gate.target == "main"
        assert any(p.sha == gate.commit and p.status == "success" for p in self.bench.forge.lines)
        voters = {v.gitlab_id for v in newest.votes}
        assert len(voters) == len({v.id for v in newest.votes}) == len(newest.votes)
        assert self.bench.project is not None
        settled = self.bench.project.target("main")
        assert settled is not None
        assert len(voters) >= settled.rule.approvals
        assert MIA.gitlab_id not in voters
        assert all(self.bench.forge.members[who or 0] >= 40 for who in voters)
        assert self.bench.clock.now() < gate.expires_at
        assert fold(self.log).gates[-1].approved
        assert isinstance(self.log[-1].payload, EffectIntended)

    # --- always ------------------------------------------------------------------------

    @invariant()
    def the_state_is_told_truly(self) -> None:
        if not self.log:
            return
        state = fold(self.log)
        waits = state.status is RunStatus.WAITING_FOR_APPROVAL
        assert waits == (state.gate is not None)
        for gate in self.gates:
            ends = [f.outcome for f in self.facts(GateClosed) if f.gate == gate.id]
            assert len(ends) <= 1 or ends == ["approved", "rejected"]

    @invariant()
    def every_click_is_on_record(self) -> None:
        heard = [*self.facts(GateVoted), *self.facts(GateRefused)]
        heard += [f for f in self.facts(GateClosed) if f.outcome == "rejected"]
        kept = Counter((f.gate, f.by.id) for f in heard if f.by)
        for who, times in self.clicks.items():
            assert kept[who] == times or kept[who] >= KEPT

    @invariant()
    def one_merge_request(self) -> None:
        assert len(self.bench.forge.requests) <= 1


TestDelivering = Delivering.TestCase
TestDelivering.settings = settings(
    max_examples=50,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
