"""What is checked before a gate lets anything pass: at the click, and again before the deed."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from agent.access import ROLES
from agent.delivery import GateState
from agent.errors import JourneymanError
from agent.events import EffectIntended, EffectKind, GateClosed, RunEvent
from agent.freeze import Freeze
from agent.gate import Action, Deed, Place
from agent.involved import involved, same_person
from agent.pipeline import Verdict
from agent.ports import ForgeReader
from agent.project import ProjectSettings
from agent.run import DEVELOPER, MAINTAINER, Person, RunStatus
from agent.state import RunState
from agent.watch import judge

REASON = (10, 2500)  #: characters of a rejection's reason
_LONG = float("inf")  # a pipeline that is not there now is not waited for
_MOMENT = "%H:%M UTC on %d %B"


@dataclass(frozen=True, kw_only=True)
class Case:
    """All that a check may look at. `project` is what is settled now."""

    gate: GateState
    state: RunState
    events: Sequence[RunEvent]
    by: Person
    deed: Deed = "approve"
    reason: str = ""
    pressed: Place | None = None
    card: Place | None = None  #: where the request stands
    project: ProjectSettings | None
    frozen: Freeze | None = None
    forge: ForgeReader
    now: datetime


@dataclass(frozen=True, kw_only=True)
class Refusal:
    check: str
    sentence: str


Check = Callable[[Case], Awaitable[str | None]]  #: None, or why not: a whole sentence


async def _open(case: Case) -> str | None:
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


async def _not_expired(case: Case) -> str | None:
    at = case.gate.gate.expires_at
    return None if case.now < at else f"This request expired at {at:{_MOMENT}}. Ask again."


async def _place(case: Case) -> str | None:
    if case.pressed is not None and case.pressed == case.card:
        return None
    return "This is a copy of the request. Press the button on the request itself, in its thread."


async def _linked(case: Case) -> str | None:
    if case.by.gitlab_id is not None:
        return None
    return (
        "You can't decide this: I don't know your GitLab account. Link it, or ask an operator "
        "to, and press again."
    )


async def _account(case: Case) -> str | None:
    user = await case.forge.user(_id(case))
    if user.bot:
        return f"You can't decide this: @{user.username} is a bot at GitLab."
    if user.external:
        return f"You can't decide this: @{user.username} is an external user at GitLab."
    if not user.active:
        return f"You can't decide this: @{user.username} is not an active user at GitLab."
    return None


async def _access(case: Case) -> str | None:
    gate, user = case.gate.gate, _id(case)
    rule = gate.rule
    access = await case.forge.access(gate.project, user)
    named = bool(rule.users or rule.groups)
    needed = DEVELOPER if named else max(rule.access, DEVELOPER)
    if access < needed:
        wanted = {DEVELOPER: "a Developer", MAINTAINER: "a Maintainer"}.get(needed, ROLES[50])
        role = ROLES.get(access, f"at level {access}")
        return (
            f"You can't decide about `{gate.subject}` of `{gate.project}`: GitLab says you are "
            f"{role} there, and whoever decides must be {wanted}."
        )
    if not named or user in rule.users:
        return None
    for group in rule.groups:
        if await case.forge.group_access(group, user):
            return None
    groups = ", ".join(f"`{group}`" for group in rule.groups)
    whom = f"members of {groups}" if groups else "the people whom its rule names"
    return f"You can't decide about `{gate.subject}` of `{gate.project}`: only {whom} can."


async def _involved(case: Case) -> str | None:
    gate = case.gate.gate
    if gate.rule.self_approval:
        return None
    if part := involved(case.events).includes(case.by):
        return f"You can't decide this. {part} Somebody else has to."
    begun = next((d.begun for d in case.state.deliveries if d.number == gate.delivery), None)
    if begun and begun.by and same_person(begun.by, case.by):
        return f"You can't decide this. You asked for this {begun.kind} yourself."
    user = await case.forge.user(_id(case))
    names = {name.casefold() for name in (user.name, user.username) if name}
    emails = {email.casefold() for email in user.emails}
    for commit in await case.forge.commits(gate.project, gate.iid):
        # a name proves nothing, and so only ever denies
        if names & {name.casefold() for name in commit.names} or emails & {
            email.casefold() for email in commit.emails
        }:
            return (
                f"You can't decide this. The commit {commit.sha[:8]} in it is yours, so somebody "
                "else has to."
            )
    return None


async def _once(case: Case) -> str | None:
    if not any(same_person(voter, case.by) for voter in case.gate.votes):
        return None
    have, need = len(case.gate.votes), case.gate.gate.rule.approvals
    return f"You have approved this already ({have} of {need}); somebody else has to, too."


async def _reason(case: Case) -> str | None:
    least, most = REASON
    if least <= len(case.reason.strip()) <= most:
        return None
    return f"A rejection needs a reason of {least} to {most:,} characters. Nothing was decided."


async def _merge_request(case: Case) -> str | None:
    gate = case.gate.gate
    now = await case.forge.merge_request(gate.project, gate.iid)
    wanted = "opened" if gate.action is Action.MERGE else "merged"
    if now.state != wanted:
        return f"!{gate.iid} is {now.state} at GitLab by now."
    if now.project_id != gate.project_id:
        return f"!{gate.iid} belongs to another project by now: `{gate.project}` was moved."
    if now.target_branch != gate.target:
        return f"!{gate.iid} goes to `{now.target_branch}` now, and not to `{gate.target}`."
    if now.source_branch != gate.source:
        return f"!{gate.iid} comes from `{now.source_branch}` now, and not from `{gate.source}`."
    if gate.action is Action.MERGE and now.sha != gate.commit:
        head = f"at {now.sha[:8]}" if now.sha else "without a commit"
        return f"!{gate.iid} stands {head} now; the request was for {gate.commit[:8]}."
    return None


async def _difference(case: Case) -> str | None:
    gate = case.gate.gate
    if gate.action is Action.DEPLOY:
        return None  # a commit that was merged does not change
    shown = await case.forge.difference(gate.project, gate.iid)
    if hashlib.sha256(shown).hexdigest() == gate.diff:
        return None
    return f"What !{gate.iid} changes is no longer what the request was for."


async def _policy(case: Case) -> str | None:
    gate = case.gate.gate
    now = case.project.settled(gate.target, gate.environment) if case.project else None
    if now is not None and now == gate.policy:
        return None
    return f"The rules for `{gate.subject}` were changed since the request was made."


async def _pipeline(case: Case) -> str | None:
    gate = case.gate.gate
    lines = await case.forge.pipelines(gate.project, sha=gate.commit)
    _, judged = judge(lines, gate.commit, _LONG)
    enough = {Verdict.GREEN}
    if gate.action is Action.DEPLOY:  # its pipeline waits for just this
        enough |= {Verdict.MANUAL}
    if judged.verdict in enough:
        return None
    return f"{judged.sentence} Only what passed may go to `{gate.subject}`."


async def _job(case: Case) -> str | None:
    gate = case.gate.gate
    if gate.action is Action.MERGE:
        return None
    rule = case.project.environment(gate.environment) if case.project else None
    lines = await case.forge.pipelines(gate.project, sha=gate.commit)
    jobs = (job for line in lines if line.sha == gate.commit for job in line.jobs)
    job = next((job for job in jobs if job.id == gate.job), None)
    if job is None or rule is None or job.name not in rule.jobs:
        return f"The job does not deploy {gate.commit[:8]} to `{gate.environment}`."
    if job.status != "manual":
        return f"The job `{job.name}` is {job.status} at GitLab by now: it was started elsewhere."
    return None


async def _freeze(case: Case) -> str | None:
    if case.frozen is not None:
        return f"{case.frozen.sentence} Nothing is approved until the freeze is ended."
    gate = case.gate.gate
    until = gate.rule.frozen_until(case.now)
    if until is None:
        return None
    return f"`{gate.subject}` is frozen until {until:%H:%M %Z on %d %B}. Press again after that."


CHECKS: Mapping[str, Check] = {
    "open": _open,
    "not_expired": _not_expired,
    "place": _place,
    "linked": _linked,
    "account": _account,
    "access": _access,
    "involved": _involved,
    "once": _once,
    "reason": _reason,
    "freeze": _freeze,
    "policy": _policy,
    "merge_request": _merge_request,
    "difference": _difference,
    "job": _job,
    "pipeline": _pipeline,
}
WHO = ("linked", "account", "access", "involved")
#: What a request was made for, and what makes it moot when it changes.
BOUND = ("policy", "merge_request", "difference", "job")
WHAT = ("freeze", *BOUND, "pipeline")
AT_CLICK = ("open", "not_expired", "place", *WHO, "once", *WHAT)
AT_REJECTION = ("open", "not_expired", "place", *WHO, "reason")
AT_WITHDRAWAL = ("open", "not_expired", "place", "reason")
AT_MERGE = ("not_expired", *WHO, *WHAT)


async def refusal(case: Case, names: Sequence[str] = AT_CLICK) -> Refusal | None:
    """The first of the checks that says no. One that cannot be made says no, too."""
    for name in names:
        try:
            sentence = await CHECKS[name](case)
        except JourneymanError as error:
            sentence = (
                f"I could not check this ({name.replace('_', ' ')}), so nothing was decided: "
                f"{error} Press again in a moment."
            )
        if sentence:
            return Refusal(check=name, sentence=sentence)
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


def _id(case: Case) -> int:
    if case.by.gitlab_id is None:
        raise JourneymanError("Your GitLab account is not known.")
    return case.by.gitlab_id
