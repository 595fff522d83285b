"""All checks by name, and which of them are made when."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from agent.checks import change, person, request
from agent.checks.case import Case, Check, Refusal
from agent.delivery import GateState
from agent.errors import Broken, JourneymanError, Unavailable
from agent.events import RunEvent
from agent.guard import guarded
from agent.involved import same_person
from agent.ports import ForgeReader
from agent.project import ProjectSettings
from agent.state import RunState

log = logging.getLogger("journeyman.gates")

CHECKS: Mapping[str, Check] = {
    "open": request.still_open,
    "not_expired": request.not_expired,
    "place": request.place,
    "linked": person.linked,
    "account": person.account,
    "access": person.access,
    "involved": person.involved,
    "once": person.once,
    "instruct": person.instruct,
    "reason": request.reason,
    "freeze": change.freeze,
    "policy": change.policy,
    "merge_request": change.merge_request,
    "difference": change.difference,
    "job": change.job,
    "pipeline": change.pipeline,
}
WHO = ("linked", "account", "access", "involved")
#: What a request was made for, and what makes it moot when it changes.
BOUND = ("policy", "merge_request", "difference", "job")
WHAT = ("freeze", *BOUND, "pipeline")
AT_CLICK = ("open", "not_expired", "place", *WHO, "once", *WHAT)
AT_REJECTION = ("open", "not_expired", "place", *WHO, "reason")
#: By whoever asked for it: to stop one's own takes no right, to instruct the agent does.
AT_WITHDRAWAL = ("open", "not_expired", "place", "reason")
AT_REVISION = ("open", "not_expired", "place", "linked", "account", "instruct", "reason")
AT_MERGE = ("not_expired", *WHO, *WHAT)


def checks_of(case: Case, *, revise: bool) -> Sequence[str]:
    """Those that a click has to pass."""
    if case.deed == "approve":
        return AT_CLICK
    begun = next(
        (d.begun for d in case.state.deliveries if d.number == case.gate.gate.delivery), None
    )
    asked = (case.state.request.requester, begun.by if begun else None)
    own = any(who and same_person(who, case.by) for who in asked)
    if not own:
        return AT_REJECTION
    return AT_REVISION if revise else AT_WITHDRAWAL


async def refusal(case: Case, names: Sequence[str] = AT_CLICK) -> Refusal | None:
    """The first of the checks that says no. One that cannot be made says no, too, whatever
    it is that breaks."""
    for name in names:
        try:
            with guarded(log, "check_broke", run=case.state.run, check=name):
                sentence = await CHECKS[name](case)
        except Broken:
            sentence = (
                f"I could not check this ({name.replace('_', ' ')}), so nothing was decided: the "
                "check itself has failed. The log of the service says more."
            )
            return Refusal(check=name, sentence=sentence)
        except JourneymanError as error:
            sentence = (
                f"I could not check this ({name.replace('_', ' ')}), so nothing was decided: "
                f"{error} Press again in a moment."
            )
            return Refusal(check=name, sentence=sentence, unsure=isinstance(error, Unavailable))
        if sentence:
            return Refusal(check=name, sentence=sentence)
    return None


async def outdated(case: Case, *, known: Collection[str] = ()) -> str | None:
    """Why the request is moot; `known`: checks that need not be made again. Raises what GitLab's
    silence raises: it proves nothing."""
    for name in BOUND:
        if name not in known and (sentence := await CHECKS[name](case)):
            return sentence
    return None


async def still_stands(
    events: Sequence[RunEvent],
    state: RunState,
    gate: GateState,
    *,
    forge: ForgeReader,
    project: ProjectSettings | None,
    now: datetime,
) -> Refusal | None:
    """Asked by the effect plane right before the deed, of a log that was read after the deed's
    `EffectIntended` was written: from then on nobody can say no any more."""
    if not gate.approved or len(gate.votes) < max(gate.gate.rule.approvals, 1):
        told = "This has not been approved, or the approval was taken back."
        return Refusal(check="open", sentence=told)
    first, *others = (
        Case(
            gate=gate,
            state=state,
            events=events,
            by=voter,
            project=project,
            frozen=None,  # heeded by the effect plane itself, later still
            forge=forge,
            now=now,
        )
        for voter in gate.votes
    )
    for case in others:
        if said := await refusal(case, WHO):
            return said
    if any(
        same_person(one, other)
        for place, one in enumerate(gate.votes)
        for other in gate.votes[place + 1 :]
    ):
        return Refusal(check="once", sentence="One person has approved this twice.")
    return await refusal(first, AT_MERGE)
