"""One more word on a gate that nobody has decided for a while."""

from __future__ import annotations

from agent.delivery import GateState
from agent.state import RunState
from bot.views import blocks as b
from bot.views import text as t
from bot.views import words as w
from bot.views.blocks import Message
from bot.views.gate import who


def messages(state: RunState) -> dict[str, Message]:
    """By slot."""
    return {
        f"gate_reminder:{each.gate.id}": _reminder(state, each)
        for each in state.gates
        if each.reminded
    }


def _reminder(state: RunState, standing: GateState) -> Message:
    gate, subject = standing.gate, t.quoted(standing.gate.subject, 60)
    if standing.closed is not None:
        told = f"*{subject}* waited for an approval for a while; it does no longer."
        spoken = f"{subject} of run {state.run} does not wait for an approval any more."
    else:
        asks = " ".join(t.user(each.id) for each in gate.asks)
        until = t.at(gate.expires_at, "{date_short_pretty} {time}")
        told = f"{asks} *Reminder:* *{subject}* still waits to be decided by {who(gate)}, above. "
        told = f"{told}It expires at {until}.".lstrip()
        names = ", ".join(f"@{t.quoted(each.name, 40)}" for each in gate.asks)
        spoken = (
            f"{names} reminder: {subject} of run {state.run}, asked for by @{w.name(state)}, still "
            f"waits for an approval. It expires {gate.expires_at:%d %b %H:%M} UTC."
        ).lstrip()
    return b.message(f"gate_reminder:{gate.id}", state.seq, spoken, {"head": b.section(told)})
