"""A run that waits at a gate, on a real database and a GitLab in memory."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeVar

from agent.adapters.database import Database
from agent.checks import still_stands
from agent.events import (
    DeliveryBegun,
    DeliveryEnded,
    EffectDone,
    EffectIntended,
    EffectKind,
    GateOpened,
    Payload,
    RunEnded,
)
from agent.gate import (
    Action,
    Click,
    Deed,
    EnvironmentRule,
    Facts,
    Gate,
    GateId,
    Place,
    Rule,
    TargetRule,
)
from agent.gatekeeper import Gatekeeper
from agent.pipeline import Job, Pipeline
from agent.ports import ForgeReader, MergeRequest, Store, Write
from agent.project import ProjectSettings
from agent.run import CommitSha, Digest, Limits, Person, Request, Run, RunStatus, Thread
from agent.state import RunState, fold
from agent.testing import FakeForge

PATH = "group/project"
HEAD = CommitSha("a" * 40)
MERGED = CommitSha("c" * 40)
MIA = Person(id="UMIA", name="mia", gitlab_id=7)  # asked for the change
SAM = Person(id="USAM", name="sam", gitlab_id=8)  # a maintainer
LEE = Person(id="ULEE", name="lee", gitlab_id=9)  # another one
TOM = Person(id="UTOM", name="tom", gitlab_id=10)  # a developer
BEA = Person(id="UBEA", name="bea", gitlab_id=11)  # a guest
WHY = "The names of the columns are wrong."
P = TypeVar("P")


@dataclass(kw_only=True)
class Ahead:
    """A clock that is some hours ahead of the database's."""

    hours: float = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(hours=self.hours)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


def make_forge() -> FakeForge:
    forge = FakeForge(clone_url="", path=PATH, members={7: 40, 8: 40, 9: 40, 10: 30, 11: 10})
    forge.lines = [line(HEAD)]
    return forge


def line(sha: CommitSha, status: str = "success", *jobs: Job) -> Pipeline:
    return Pipeline(id=5, sha=sha, ref="r", source="push", status=status, url="", jobs=jobs)


def job(name: str, number: int, status: str = "manual") -> Job:
    return Job(id=number, name=name, stage="deploy", status=status)


@dataclass(kw_only=True)
class GateBench:
    db: Database
    forge: FakeForge = field(default_factory=make_forge)
    clock: Ahead = field(default_factory=Ahead)
    project: ProjectSettings | None = field(
        default_factory=lambda: ProjectSettings(
            path=PATH,
            targets=(TargetRule(branch="main"), TargetRule(branch="develop", promote="main")),
            environments=(
                EnvironmentRule(name="staging", jobs=("deploy:staging",)),
                EnvironmentRule(name="production", jobs=("deploy:production",)),
            ),
        )
    )
    card_stands: bool = True

    def keeper(self, *, store: Store | None = None, forge: ForgeReader | None = None) -> Gatekeeper:
        async def card(run: int, slot: str) -> Place | None:
            return Place(team="T", channel="C", message=slot) if self.card_stands else None

        return Gatekeeper(
            store=store or self.db.store,
            forge=forge or self.forge,
            projects=lambda path: self.project,
            clock=self.clock,
            cards=card,
        )

    def settle(self, rule: Rule, branch: str = "main") -> None:
        assert self.project is not None
        others = (each for each in self.project.targets if each.branch != branch)
        mine = replace(self.project.target(branch) or TargetRule(branch=branch), rule=rule)
        self.project = replace(self.project, targets=(mine, *others))

    def settle_place(self, rule: Rule, name: str = "staging") -> None:
        assert self.project is not None
        self.project = replace(
            self.project,
            environments=tuple(
                replace(each, rule=rule) if each.name == name else each
                for each in self.project.environments
            ),
        )

    async def run(self) -> Run:
        """At work, with a merge request of its own."""
        number = secrets.token_hex(4)
        request = Request(
            text="make it better",
            project=PATH,
            base_branch="main",
            requester=MIA,
            thread=Thread(team="T", channel="C", ts=number),
            message=number,
        )
        run, _ = await self.db.store.create(number, request, Limits())
        await self.db.store.claim(run.id, "worker")
        return await self.write(run, status=RunStatus.PUBLISHING)

    async def write(self, run: Run, *payloads: Payload, status: RunStatus | None = None) -> Run:
        write = Write(payloads=payloads, status=status)
        return await self.db.store.write(run.id, write, actor="worker")

    async def waiting(
        self,
        kind: Literal["change", "promotion", "revert"] = "change",
        *,
        target: str = "main",
        environment: str = "",
        run: Run | None = None,
        by: Person | None = None,
    ) -> tuple[Run, Gate]:
        """The run of a merge request whose gate was just opened."""
        run = run or await self.run()
        assert self.project is not None
        source = {"change": run.branch, "promotion": "develop", "revert": f"{run.branch}-revert-1"}
        iid = len(self.forge.requests) + 1
        self.forge.requests.append(
            MergeRequest(
                project=PATH,
                iid=iid,
                url=f"https://gitlab.example/{iid}",
                title="Make it better",
                description="",
                state="merged" if environment else "opened",
                draft=False,
                source_branch=source[kind],
                target_branch=target,
                sha=HEAD,
                author_id=99,
                project_id=1,
                merged=MERGED if environment else None,
            )
        )
        settled = self.project.environment(environment) or self.project.target(target)
        policy = self.project.settled(target, environment)
        assert settled is not None
        assert policy is not None
        number = len((await self.state(run)).deliveries) + 1
        begun = DeliveryBegun(
            number=number,
            kind=kind,
            source=source[kind],
            target=target,
            by=by,
            iid=iid,
            commit=HEAD,
            merged=MERGED if environment else None,
        )
        gate = Gate(
            id=GateId(secrets.token_hex(16)),
            action=Action.DEPLOY if environment else Action.MERGE,
            delivery=number,
            project=PATH,
            project_id=1,
            iid=iid,
            url="",
            title="Make it better",
            commit=MERGED if environment else HEAD,
            diff=Digest(hashlib.sha256(await self.forge.difference(PATH, iid)).hexdigest()),
            source=source[kind],
            target=target,
            environment=environment,
            job=31 if environment else 0,
            rule=settled.rule,
            policy=policy,
            expires_at=self.clock.now() + timedelta(seconds=settled.rule.expires),
            facts=Facts(files=1, added=1, removed=1),
        )
        if environment:
            jobs = (job("deploy:staging", 31), job("deploy:production", 32))
            self.forge.lines.insert(0, line(MERGED, "manual", *jobs))
        status = RunStatus.WAITING_FOR_APPROVAL
        run = await self.write(run, begun, GateOpened(gate=gate), status=status)
        return run, gate

    async def press(
        self,
        gate: Gate,
        by: Person,
        deed: Deed = "approve",
        *,
        reason: str = WHY,
        revise: bool = False,
        place: Place | None = None,
        keeper: Gatekeeper | None = None,
        message: str = "",
    ) -> Run:
        click = Click(
            gate=gate.id,
            deed=deed,
            by=by,
            place=place or Place(team="T", channel="C", message=f"gate:{gate.id}"),
            reason=reason if deed == "reject" else "",
            revise=revise,
            message=message,
        )
        return await (keeper or self.keeper()).decide(click)

    async def merges(self, run: Run, gate: Gate) -> bool:
        """What the effect plane does: says so, checks again, merges."""
        key = f"{run.id}:merge:{gate.delivery}"
        await self.write(run, EffectIntended(key=key, effect=EffectKind.MERGE, subject="merge"))
        if await self.stands(run, gate):
            return False
        done = EffectDone(key=key, effect=EffectKind.MERGE, result="merged", commit=MERGED)
        self.forge.change(gate.iid, state="merged", merged=MERGED)
        await self.write(run, done)
        return True

    async def stands(self, run: Run, gate: Gate) -> str:
        """The name of the check that refuses it right before the deed; empty: none."""
        events = await self.db.store.events(run.id)
        state = fold(events)
        found = next(each for each in state.gates if each.gate.id == gate.id)
        said = await still_stands(
            events,
            state,
            found,
            forge=self.forge,
            project=self.project,
            now=self.clock.now(),
        )
        return said.check if said else ""

    async def delivered(self, target: str = "main") -> Run:
        """A run whose change was merged and has ended well."""
        run, gate = await self.waiting(target=target)
        await self.press(gate, SAM)
        assert await self.merges(run, gate)
        ended = DeliveryEnded(number=1, outcome="delivered")
        return await self.write(run, ended, RunEnded(status=RunStatus.SUCCEEDED))

    async def state(self, run: Run) -> RunState:
        return fold(await self.db.store.events(run.id))

    async def facts(self, run: Run, kind: type[P]) -> Sequence[P]:
        log = await self.db.store.events(run.id)
        return [each.payload for each in log if isinstance(each.payload, kind)]
