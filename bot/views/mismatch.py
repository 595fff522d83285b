"""What GitLab shows against what a thread says of it."""

from __future__ import annotations

from agent.events import MismatchFound
from agent.state import RunState
from bot.views import blocks as b
from bot.views import text as t
from bot.views.blocks import Message


def messages(state: RunState) -> dict[str, Message]:
    """By slot."""
    return {
        f"mismatch:{number}": _told(number, state, each)
        for number, each in enumerate(state.mismatches, 1)
    }


def _told(number: int, state: RunState, found: MismatchFound) -> Message:
    told = t.quoted(found.reason, 600)
    spoken = f"Run {state.run}: {t.line(found.reason, 600)}"
    return b.message(f"mismatch:{number}", state.seq, spoken, {"head": b.section(told)})
