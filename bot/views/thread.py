"""What a run's thread should show: each message has a slot, and stays in it."""

from __future__ import annotations

from agent.run import ENDED, RunStatus
from agent.state import RunState
from bot.views import delivery, gate, gate_reminder, mismatch, pipeline
from bot.views.blocks import Message
from bot.views.hold import hold, reminder
from bot.views.outcome import outcome, proposal, result
from bot.views.question import question
from bot.views.run import card
from bot.views.words import Links, published

CARD = "card"

#: One at a time on the first message of the thread.
REACTIONS = ("eyes", "raised_hand", "white_check_mark", "warning", "octagonal_sign")


def messages(state: RunState, links: Links) -> dict[str, Message]:
    """By slot, in the order in which they are posted."""
    shown = {CARD: card(state, links)}
    if state.proposed:
        shown["outcome:1"] = proposal(state, links, state.proposed.plan)
    if state.asked:
        shown[f"question:{state.question_seq}"] = question(state, links)
    if state.hold:
        shown[f"hold:{state.held_seq}"] = hold(state, links)
        if state.reminded == state.held_seq:
            shown[f"hold_reminder:{state.held_seq}"] = reminder(state)
    stands = published(state)
    if stands:
        shown[f"result:{state.rounds}"] = result(state, links)
    shown |= pipeline.messages(state, links)
    shown |= gate.messages(state, links)
    shown |= gate_reminder.messages(state)
    shown |= delivery.messages(state, links)
    if state.status in ENDED and not _told(state, stands):
        shown[f"outcome:{state.rounds}"] = outcome(state, links)
    return shown | mismatch.messages(state)


def _told(state: RunState, stands: bool) -> bool:
    """The messages above say how it ended."""
    newest = state.deliveries[-1] if state.deliveries else None
    if newest and newest.ended and newest.ended_seq + 1 == state.end_seq:
        return newest.merged is not None or newest.ended.outcome == "rejected"
    return stands and state.status is RunStatus.SUCCEEDED


#: All that may stand at a message.
SIGNS = frozenset({"eyes", "raised_hand", "white_check_mark", "warning", "octagonal_sign"})


def reaction(state: RunState) -> str:
    match state.status:
        case RunStatus.SUCCEEDED if state.plan_stands:
            return "raised_hand"
        case RunStatus.WAITING_FOR_ANSWER | RunStatus.WAITING_FOR_APPROVAL:
            return "raised_hand"
        case RunStatus.SUCCEEDED:
            return "white_check_mark"
        case RunStatus.FAILED | RunStatus.ESCALATED:
            return "warning"
        case RunStatus.CANCELLED:
            return "octagonal_sign"
        case _:
            return "eyes"


def sign(state: RunState, message: str) -> str:
    """That of the newest run in the thread on one of the messages that people wrote there."""
    if message == state.request.thread.ts:
        return reaction(state)
    taken = any(
        followup.given.message == message and followup.taken_at_step is not None
        for followup in state.followups
    )
    return "white_check_mark" if taken else "eyes"


def session(status: RunStatus) -> str:
    """The native working state of an agent's thread."""
    if status in ENDED:
        return "active"
    waits = status in (RunStatus.WAITING_FOR_ANSWER, RunStatus.WAITING_FOR_APPROVAL)
    return "suspended" if waits else "processing"
