"""Gates and deliveries, as the rows of a run's timeline tell them."""

from __future__ import annotations

from typing import assert_never

from agent import events as e
from agent.gate import Action, Gate
from agent.pipeline import Verdict
from bot.views.gate import who

Delivering = (
    e.DeliveryBegun
    | e.GateOpened
    | e.GateVoted
    | e.GateRefused
    | e.GateReminded
    | e.GateClosed
    | e.TargetSeen
    | e.DeploymentSeen
    | e.DeliveryEnded
)


def name(p: e.Payload) -> str:
    """Where the card of a gate leads."""
    return f"gate-{p.gate.id[:8]}" if isinstance(p, e.GateOpened) else ""


def told(p: Delivering) -> tuple[str, str, str]:
    """Title, text and tone."""
    match p:
        case e.DeliveryBegun():
            by = f" by {p.by.name}" if p.by else ""
            return f"Delivery {p.number} begun{by}: {p.kind}", f"{p.source} → {p.target}", ""
        case e.GateOpened(gate=gate):
            return f"Gate {gate.id[:8]} opened before {gate.subject}", _bound(gate), ""
        case e.GateVoted():
            return f"Approval by {p.by.name}", f"gate {p.gate[:8]}", "good"
        case e.GateRefused():
            text = f"{p.reason}\ngate {p.gate[:8]}, check: {p.check}"
            return f"Refused: {p.by.name} may not {p.deed}", text, "bad"
        case e.GateReminded():
            return "Approvers reminded", f"gate {p.gate[:8]}", "quiet"
        case e.GateClosed():
            by = f" by {p.by.name}" if p.by else ""
            tone = "good" if p.outcome == "approved" else "bad"
            return f"Gate {p.gate[:8]} {p.outcome}{by}", p.reason, tone
        case e.TargetSeen():
            which = "before the merge" if p.merged is None else f"of {p.merged[:8]}"
            tone = {Verdict.GREEN: "good", Verdict.RED: "bad"}.get(p.judgement.verdict, "quiet")
            return f"Target's pipeline {which}", p.judgement.sentence, tone
        case e.DeploymentSeen():
            tone = {"success": "good", "failed": "bad"}.get(p.job.status, "quiet")
            return f"Deployment to {p.environment}", f"{p.job.name}: {p.job.status}", tone
        case e.DeliveryEnded():
            tone = "good" if p.outcome == "delivered" else "bad"
            return f"Delivery {p.number}: {p.outcome}", p.reason, tone
        case _:
            assert_never(p)


def _bound(gate: Gate) -> str:
    """What was asked, on which facts, and what a yes was bound to."""
    facts, commit = gate.facts, gate.commit[:8]
    if gate.action is Action.MERGE:
        deed = f"merge !{gate.iid} at {commit} into {gate.target}"
    else:
        deed = f"deploy {commit} of {gate.target} to {gate.environment}"
    found = [
        f"{facts.files} files, +{facts.added} −{facts.removed}",
        f"tests: {facts.tests}" if facts.tests else "",
        f"pipeline #{facts.pipeline}" if facts.pipeline else "",
        f"${facts.money:.2f}" if facts.money else "",
    ]
    lines = [
        deed,
        f"decided by {who(gate).replace('`', '')}",
        f"asked: {', '.join(each.name for each in gate.asks)}" if gate.asks else "",
        "; ".join(filter(None, found)),
        f"touches {', '.join(facts.protected)}" if facts.protected else "",
        *(f"accepted: {each.path}: {each.detail}" for each in facts.weakened),
        *facts.gitlab,
        facts.why,
        f"difference {gate.diff[:12]}, policy {gate.policy[:12]}, "
        f"until {gate.expires_at:%Y-%m-%d %H:%M} UTC",
    ]
    return "\n".join(filter(None, lines))
