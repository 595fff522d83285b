"""What was pressed: does the request stand, and is it this one?"""

from __future__ import annotations

from agent.checks.case import Case
from agent.events import EffectIntended, EffectKind, GateClosed
from agent.run import RunStatus

REASON = (10, 2500)  #: characters of a rejection's reason
_MOMENT = "%H:%M UTC on %d %B"


async def still_open(case: Case) -> str | None:
    gate, state = case.gate, case.state
    if gate.closed is None:
        if state.gate == gate and state.status is RunStatus.WAITING_FOR_APPROVAL:
            return None
        return "This request no longer waits: the run has gone on. The newer request is below."
    who = f" by @{gate.closed.by.name}" if gate.closed.by else ""
    when = f" at {gate.closed_at:{_MOMENT}}" if gate.closed_at else ""
    match gate.closed.outcome:
        case "superseded":
            return f"This request was superseded{when}; the newer request is below."
        case "expired":
            return f"This request expired{when}. Ask again to get a new one."
        case "cancelled":
            return f"The run has ended{when}, and this request with it."
        case "approved" if case.deed == "reject":
            if not _begun(case):
                return None  # a no still counts
            return f"This was approved{who}{when}, and what was approved has begun already."
        case outcome:
            return f"This was already {outcome}{who}{when}."


def _begun(case: Case) -> bool:
    """Whether what the approval allowed has been begun, or the run has gone elsewhere."""
    if case.state.status is not RunStatus.DELIVERING:
        return True
    closed = False
    for event in case.events:
        match event.payload:
            case GateClosed(gate=which) if which == case.gate.gate.id:
                closed = True
            case EffectIntended(effect=EffectKind.MERGE | EffectKind.PLAY_JOB) if closed:
                return True
            case _:
                pass
    return False


async def not_expired(case: Case) -> str | None:
    at = case.gate.gate.expires_at
    return None if case.now < at else f"This request expired at {at:{_MOMENT}}. Ask again."


async def place(case: Case) -> str | None:
    if case.pressed is not None and case.pressed == case.card:
        return None
    return "This is a copy of the request. Press the button on the request itself, in its thread."


async def reason(case: Case) -> str | None:
    least, most = REASON
    if least <= len(case.reason.strip()) <= most:
        return None
    return f"A rejection needs a reason of {least} to {most:,} characters. Nothing was decided."
