"""The next step of a delivery, decided from what is known: nothing is asked or done here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from agent.delivery import Delivery, GateState
from agent.events import TargetSeen
from agent.gate import EnvironmentRule, GateId, Rule, TargetRule
from agent.pipeline import Job, Judgement, Verdict
from agent.ports import MergeRequest
from agent.run import CommitSha, Digest

UNSETTLED = frozenset({Verdict.AWAITED, Verdict.RUNNING, Verdict.BLOCKED})
#: GitLab's words for a job that has not been reached, or was passed over.
_UNREACHED = frozenset({"created", "skipped"})
_UNDONE = {"created": "has not begun", "skipped": "was skipped", "manual": "was not started"}


@dataclass(frozen=True, kw_only=True)
class Landed:
    """Somebody merged it meanwhile."""

    commit: CommitSha


@dataclass(frozen=True, kw_only=True)
class Leave:
    """The delivery ends without having come to its target."""

    reason: str
    outcome: Literal["left", "broken", "rejected", "expired", "superseded"] = "left"


@dataclass(frozen=True, kw_only=True)
class Done:
    """The delivery ends as it should."""

    told: str = ""
    unreached: tuple[str, ...] = ()  #: where it should have been deployed to, and why it was not


@dataclass(frozen=True, kw_only=True)
class Wait:
    """`until`: when it is over by the calendar; None: looked at again now and then."""

    reason: str
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Ask:
    """People are asked anew; `instead` of a gate that no longer fits."""

    rule: Rule
    why: str = ""
    instead: GateId | None = None
    place: Place | None = None  #: None: about the merge


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The open gate still fits."""


@dataclass(frozen=True, kw_only=True)
class Go:
    gate: GateId | None = None
    place: Place | None = None


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What a gate must have been opened for to count."""

    commit: CommitSha
    diff: Digest
    source: str
    target: str
    policy: Digest
    environment: str = ""
    job: int = 0

    def fits(self, state: GateState) -> bool:
        gate = state.gate
        return self == Bound(
            commit=gate.commit,
            # what was merged changes no more
            diff=self.diff if self.environment else gate.diff,
            source=gate.source,
            target=gate.target,
            policy=gate.policy,
            environment=gate.environment,
            job=gate.job,
        )


@dataclass(frozen=True, kw_only=True)
class Place:
    """A job that deploys to an environment. `refused`: why it could not be started."""

    rule: EnvironmentRule
    job: Job
    gate: GateState | None = None
    played: bool = False
    refused: str = ""


Step = Landed | Leave | Done | Wait | Ask | Asked | Go


def obstacle(
    delivery: Delivery, request: MergeRequest, rule: TargetRule | None, *, foreign: str = ""
) -> Landed | Leave | Wait | None:
    """What people have done to the merge request. `foreign`: whose its head is, if not ours."""
    name, target = f"!{request.iid}", delivery.begun.target
    if request.state == "merged" and request.target_branch != target:
        told = f"{name} was merged into {request.target_branch} meanwhile, and not into {target}."
        return Leave(reason=told, outcome="superseded")
    if request.state == "merged" and request.merged is None:
        return Wait(reason=f"{name} was merged; GitLab does not tell yet as which commit.")
    if request.state == "merged" and request.merged is not None:
        return Landed(commit=request.merged)
    if request.state == "closed":
        return Leave(reason=f"{name} was closed meanwhile.")
    if request.target_branch != target:
        moved = f"from {target} to {request.target_branch}"
        return Leave(reason=f"{name} was retargeted {moved}.", outcome="superseded")
    if foreign:
        return Leave(reason=foreign, outcome="superseded")
    if rule is None:
        return Leave(reason=f"There is no rule for `{target}` any more; merging is left to people.")
    return None


def unchecked(judged: Judgement) -> Leave | Wait | None:
    """Only green goes on."""
    match judged.verdict:
        case Verdict.GREEN:
            return None
        case Verdict.AWAITED | Verdict.RUNNING | Verdict.BLOCKED | Verdict.MANUAL:
            return Wait(reason=judged.sentence)
        case _:
            return Leave(reason=f"{judged.sentence} Nothing was merged.")


def passage(
    rule: Rule,
    gate: GateState | None,
    bound: Bound,
    now: datetime,
    *,
    why: str = "",
    place: Place | None = None,
) -> Leave | Wait | Ask | Asked | Go:
    """`gate`: the newest one for this. `why`: what keeps a change from merging by itself."""
    closed = gate.closed if gate else None
    if gate is not None and closed is None:
        if not bound.fits(gate):
            return Ask(rule=_asks(rule), why=why, instead=gate.gate.id, place=place)
        if gate.gate.expires_at <= now:
            told = f"Nobody decided about {gate.gate.subject} in time."
            return Leave(reason=told, outcome="expired")
        return Asked()
    if gate is not None and closed is not None and closed.outcome in ("rejected", "expired"):
        reason = closed.reason or f"{gate.gate.subject} was {closed.outcome}."
        outcome = "rejected" if closed.outcome == "rejected" else "expired"
        return Leave(reason=reason, outcome=outcome)
    approved = gate if gate is not None and gate.approved and bound.fits(gate) else None
    if approved is None and (why or rule.approvals):
        return Ask(rule=_asks(rule), why=why, place=place)
    if frozen := rule.frozen_until(now):
        subject = bound.environment or bound.target
        return Wait(reason=f"`{subject}` is frozen until {frozen:%Y-%m-%d %H:%M %Z}.", until=frozen)
    return Go(gate=approved.gate.id if approved else None, place=place)


def _asks(rule: Rule) -> Rule:
    """The one by which people are asked where the change could have merged itself: as if nothing
    more was said, but for the times when nothing may pass."""
    return rule if rule.approvals else Rule(freezes=rule.freezes)


def landing(
    judged: Judgement,
    before: TargetSeen | None,
    places: Sequence[tuple[Place, Bound]],
    target: str,
    now: datetime,
    *,
    missing: Sequence[EnvironmentRule] = (),
) -> Leave | Wait | Ask | Asked | Go | Done:
    """After the merge. `places` in the order in which they are deployed to: each one has to be
    done before the next is looked at. `missing`: what belongs to the target, without a job."""
    rest: Sequence[tuple[Place, Bound]] = ()
    for at, (place, bound) in enumerate(places):
        job, name = place.job, f"`{place.rule.name}`"
        if job.status == "success":
            continue
        if job.status in ("failed", "canceled"):
            ends = "failed" if job.status == "failed" else "was canceled"
            told = f"The job `{job.name}` {ends}, so {name} was not deployed to."
            return Leave(reason=told, outcome="broken")
        if job.status in _UNREACHED:
            if judged.verdict in UNSETTLED:
                return Wait(reason=judged.sentence)
            rest = places[at:]
            break
        if job.status != "manual":
            return Wait(reason=f"The job `{job.name}` deploys to {name}: {job.status}.")
        if place.refused:
            return Leave(reason=place.refused)
        if place.played:
            return Wait(reason=f"The job `{job.name}` was started; GitLab does not run it yet.")
        if judged.verdict in UNSETTLED:
            return Wait(reason=judged.sentence)
        if judged.verdict not in (Verdict.GREEN, Verdict.MANUAL):
            rest = places[at:]
            break
        return passage(place.rule.rule, place.gate, bound, now, place=place)
    step = _settled(judged, before, target)
    if isinstance(step, Done):
        unreached = _unreached([place for place, _ in rest], missing)
        return replace(step, unreached=unreached)
    return step


def _unreached(places: Sequence[Place], missing: Sequence[EnvironmentRule]) -> tuple[str, ...]:
    """One sentence's part for each environment, by the first of its jobs that is not done."""
    why: dict[str, str] = {}
    for place in places:
        status = place.job.status
        if status != "success":
            told = f"its job {place.job.name} {_UNDONE.get(status, f'is {status}')}"
            why.setdefault(place.rule.name, told)
    for rule in missing:
        jobs = " or ".join(rule.jobs)
        why.setdefault(rule.name, f"its job {jobs} is not in the pipeline")
    return tuple(f"{name} was not reached: {told}" for name, told in why.items())


def _settled(judged: Judgement, before: TargetSeen | None, target: str) -> Leave | Wait | Done:
    match judged.verdict:
        case Verdict.GREEN:
            return Done(told="its pipeline passed")
        case Verdict.ABSENT:
            return Done(told="no pipeline came for it")
        case Verdict.MANUAL:
            return Done(told="its pipeline waits for a job that is left to people")
        case Verdict.AWAITED | Verdict.RUNNING | Verdict.BLOCKED:
            return Wait(reason=judged.sentence)
        case Verdict.RED if before and before.judgement.verdict is Verdict.RED:
            return Done(told=f"its pipeline failed, as `{target}` did before the merge")
        case Verdict.RED if before and before.judgement.verdict is Verdict.GREEN:
            told = f"{judged.sentence} `{target}` was green before the merge."
            return Leave(reason=told, outcome="broken")
        case Verdict.RED:
            told = f"{judged.sentence} Nothing is known of how `{target}` stood before the merge."
            return Leave(reason=told, outcome="broken")
        case _:
            return Leave(reason=judged.sentence)
