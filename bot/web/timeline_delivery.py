"""Gates and deliveries, as the rows of a run's timeline tell them."""

from __future__ import annotations

from typing import assert_never

from agent import events as e

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
            text = (
                f"{gate.action} {gate.source} at {gate.commit[:8]}\ndifference {gate.diff[:12]}\n"
                f"policy {gate.policy[:12]}\nuntil {gate.expires_at:%Y-%m-%d %H:%M} UTC"
            )
            return f"Gate opened before {gate.subject}", text, ""
        case e.GateVoted():
            return f"Approval by {p.by.name}", f"gate {p.gate[:8]}", "good"
        case e.GateRefused():
            return f"Refused: {p.deed} by {p.by.name}", f"{p.reason}\ncheck: {p.check}", "bad"
        case e.GateReminded():
            return "Approvers reminded", f"gate {p.gate[:8]}", "quiet"
        case e.GateClosed():
            by = f" by {p.by.name}" if p.by else ""
            tone = "good" if p.outcome == "approved" else "bad"
            return f"Gate {p.outcome}{by}", p.reason, tone
        case e.TargetSeen():
            which = "before the merge" if p.merged is None else f"of {p.merged[:8]}"
            return f"Target's pipeline {which}", p.judgement.sentence, "quiet"
        case e.DeploymentSeen():
            return f"Deployment to {p.environment}", f"{p.job.name}: {p.job.status}", "quiet"
        case e.DeliveryEnded():
            tone = "good" if p.outcome == "delivered" else "bad"
            return f"Delivery {p.number}: {p.outcome}", p.reason, tone
        case _:
            assert_never(p)
