"""The way of one change to its target, folded from the log: gates, the merge, what came after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from agent import events as e
from agent.gate import Gate, GateId
from agent.run import CommitSha, Person, RunStatus


@dataclass(frozen=True, kw_only=True)
class GateState:
    gate: Gate
    seq: int  #: of its `GateOpened`
    opened_at: datetime
    votes: tuple[Person, ...] = ()  #: for it, one a person
    refused: tuple[e.GateRefused, ...] = ()
    reminded: bool = False
    closed: e.GateClosed | None = None
    closed_at: datetime | None = None

    @property
    def approved(self) -> bool:
        return self.closed is not None and self.closed.outcome == "approved"


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """`commit` is the head of its merge request, as far as it is known; `merged` what the target
    branch got by it."""

    begun: e.DeliveryBegun
    iid: int | None = None
    url: str = ""
    commit: CommitSha | None = None
    merged: CommitSha | None = None
    before: e.TargetSeen | None = None  #: how the target stood before the merge
    target: e.TargetSeen | None = None  #: the target's pipeline for `merged`, newest sight
    deployments: tuple[e.DeploymentSeen, ...] = ()  #: the newest of each environment
    ended: e.DeliveryEnded | None = None
    ended_seq: int = 0

    @property
    def number(self) -> int:
        return self.begun.number

    def deployment(self, environment: str) -> e.DeploymentSeen | None:
        return next((d for d in self.deployments if d.environment == environment), None)


def opened(gates: tuple[GateState, ...], event: e.RunEvent) -> tuple[GateState, ...]:
    """The gates after one more event."""
    match event.payload:
        case e.GateOpened(gate=gate):
            return (*gates, GateState(gate=gate, seq=event.seq, opened_at=event.at))
        case e.GateVoted(gate=which, by=by):
            return _with(gates, which, lambda g: replace(g, votes=(*g.votes, by)))
        case e.GateRefused(gate=which) as refused:
            return _with(gates, which, lambda g: replace(g, refused=(*g.refused, refused)))
        case e.GateReminded(gate=which):
            return _with(gates, which, lambda g: replace(g, reminded=True))
        case e.GateClosed(gate=which) as closed:
            return _with(gates, which, lambda g: replace(g, closed=closed, closed_at=event.at))
        case e.RunEnded(reason=reason):
            return tuple(_cancelled(each, reason, event.at) for each in gates)
        case _:
            return gates


def delivered(deliveries: tuple[Delivery, ...], event: e.RunEvent) -> tuple[Delivery, ...]:
    """The deliveries after one more event."""
    match event.payload:
        case e.DeliveryBegun() as begun:
            made = Delivery(
                begun=begun,
                iid=begun.iid,
                url=begun.url,
                commit=begun.commit,
                merged=begun.merged,
            )
            return (*deliveries, made)
        case e.EffectDone(effect=e.EffectKind.OPEN_DELIVERY) as done:
            change = {"iid": done.iid, "url": done.url, "commit": done.commit}
            return _last(deliveries, **change)
        case e.EffectDone(effect=e.EffectKind.MERGE, commit=merged):
            return _last(deliveries, merged=merged)
        case e.TargetSeen(merged=None) as seen:
            return _last(deliveries, before=seen)
        case e.TargetSeen() as seen:
            return _last(deliveries, target=seen)
        case e.DeploymentSeen() as seen if deliveries:
            kept = (d for d in deliveries[-1].deployments if d.environment != seen.environment)
            return _last(deliveries, deployments=(*kept, seen))
        case e.DeliveryEnded() as ended:
            return _last(deliveries, ended=ended, ended_seq=event.seq)
        case e.RunEnded(status=RunStatus.CANCELLED, reason=reason):
            if not deliveries or deliveries[-1].ended:
                return deliveries
            left = e.DeliveryEnded(number=deliveries[-1].number, outcome="left", reason=reason)
            return _last(deliveries, ended=left, ended_seq=event.seq)
        case _:
            return deliveries


def _last(deliveries: tuple[Delivery, ...], **change: Any) -> tuple[Delivery, ...]:
    return (*deliveries[:-1], replace(deliveries[-1], **change)) if deliveries else deliveries


def _cancelled(state: GateState, reason: str, at: datetime) -> GateState:
    """With its run an open gate ends, too."""
    if state.closed is not None:
        return state
    closed = e.GateClosed(gate=state.gate.id, outcome="cancelled", reason=reason)
    return replace(state, closed=closed, closed_at=at)


def _with(
    gates: tuple[GateState, ...], which: GateId, change: Callable[[GateState], GateState]
) -> tuple[GateState, ...]:
    return tuple(change(each) if each.gate.id == which else each for each in gates)
