"""A gate in the thread: what exactly is asked, on which facts, and what people decided."""

from __future__ import annotations

from agent.delivery import GateState
from agent.gate import Action, Gate
from agent.run import ENDED, Person
from agent.state import RunState
from bot.views import blocks as b
from bot.views import text as t
from bot.views import words as w
from bot.views.blocks import Message

_PATHS = 8  #: protected paths and weakened checks that are listed
_LEVELS = {30: "a developer", 40: "a maintainer", 50: "an owner"}
_ROLES = {30: "Developer", 40: "Maintainer", 50: "Owner"}
_ENDS = {
    "approved": "Approved",
    "rejected": "Rejected",
    "expired": "Expired, nobody decided",
    "superseded": "No longer asked",
    "cancelled": "Not asked any more",
}


def messages(state: RunState, links: w.Links) -> dict[str, Message]:
    """By slot: a card for each gate, and a word for the asker once it is decided."""
    shown: dict[str, Message] = {}
    for each in state.gates:
        shown[f"gate:{each.gate.id}"] = card(state, each, links)
        if each.closed and each.closed.outcome in ("approved", "rejected"):
            shown[f"decided:{each.gate.id}"] = _decided(state, each)
    return shown


def card(state: RunState, standing: GateState, links: w.Links) -> Message:
    """The facts are there to decide on; afterwards they stand in the audit trail."""
    gate, page, is_open = standing.gate, links.run(state.run), _open(state, standing)
    if page:
        page = f"{page}#gate-{gate.id[:8]}"
    return b.message(
        f"gate:{gate.id}",
        state.seq,
        _sentence(state, standing),
        {
            "head": b.section(f"{_title(standing)}\n{_what(gate)}"),
            "facts": b.section(fields=_fields(state, gate)) if is_open else None,
            "attention": b.context(*_attention(gate)) if is_open else None,
            "votes": b.context(_votes(standing)),
            "act": b.actions(*_buttons(state, standing)),
            "foot": b.context(
                _rule(state, gate) if is_open else _how(standing),
                # the card changes with the reminder, so that one that is gone is posted again
                "People were reminded." if is_open and standing.reminded else "",
                t.link(page, "Audit trail") if page else "",
            ),
        },
        more=page,
    )


def who(gate: Gate) -> str:
    """Who may decide, for mrkdwn."""
    rule, project = gate.rule, t.code(gate.project)
    if rule.users or rule.groups:
        listed = [t.count(len(rule.users), "listed person", "listed people")] if rule.users else []
        listed += [f"members of {t.code(group)}" for group in rule.groups]
        told = " or ".join(listed)
        count = f"{rule.approvals} of " if rule.approvals > 1 else ""
        return f"{count}{told}"
    if rule.approvals == 1:
        return f"{_LEVELS.get(rule.access, 'a member')} of {project}"
    level = _LEVELS.get(rule.access, "a member").split()[-1]
    return f"{rule.approvals} {level}s of {project}"


def _undo(state: RunState, gate: Gate) -> str:
    if gate.action is Action.DEPLOY:
        return "Revert the merge, or deploy the last good commit again at GitLab"
    if any(d.number == gate.delivery and d.begun.kind == "revert" for d in state.deliveries):
        return f"Revert !{gate.iid} at GitLab"
    return f"Revert !{gate.iid}: one button, through the same gate"


def _open(state: RunState, standing: GateState) -> bool:
    return state.gate is not None and state.gate.gate.id == standing.gate.id


def _sentence(state: RunState, standing: GateState) -> str:
    gate, closed = standing.gate, standing.closed
    deed = _deed(gate)
    if _open(state, standing):
        asks = ", ".join(f"@{t.quoted(each.name, 40)}" for each in gate.asks)
        whom = f" {asks}:" if asks else ""
        return (
            f"Approval needed: {t.quoted(gate.subject, 60)}.{whom} {deed}. "
            f"Decided by {_plain(who(gate))}. Expires {gate.expires_at:%d %b %H:%M} UTC."
        )
    outcome = _ENDS[closed.outcome] if closed else "Not asked any more"
    by = f" by @{t.quoted(closed.by.name, 40)}" if closed and closed.by else ""
    return f"{outcome}{by}: {deed}."


def _deed(gate: Gate) -> str:
    if gate.action is Action.DEPLOY:
        where = t.quoted(gate.environment, 60)
        return f"deploy {gate.commit[:8]} of {t.quoted(gate.project)} to {where}"
    where = f"at {gate.commit[:8]} into {t.quoted(gate.target, 60)}"
    return f"merge !{gate.iid} of {t.quoted(gate.project)} {where}"


def _title(standing: GateState) -> str:
    gate, closed = standing.gate, standing.closed
    subject = t.quoted(gate.subject, 60)
    if closed is None:
        asks = " ".join(t.user(each.id) for each in gate.asks)
        return f"*Approval needed: {subject}*" + (f" — {asks}" if asks else "")
    return f"*{_ENDS[closed.outcome]}: {subject}*"


def _what(gate: Gate) -> str:
    commit = t.code(gate.commit[:8])
    request = t.link(gate.url, f"!{gate.iid} {t.line(gate.title, 100)}")
    if gate.action is Action.DEPLOY:
        return f"Start the deployment of {commit} ({request}) to *{t.quoted(gate.environment)}*."
    follows = ""
    if gate.facts.deploys:
        names = " and ".join(f"*{t.quoted(name, 40)}*" for name in gate.facts.deploys)
        follows = f", and let its pipeline deploy to {names}"
    return f"Merge {request} at {commit} into {t.code(gate.target)}{follows}."


def _fields(state: RunState, gate: Gate) -> list[str]:
    facts = gate.facts
    run = t.link(facts.pipeline_url, f"#{facts.pipeline} passed") if facts.pipeline_url else ""
    outside = f"\n{t.quoted(', '.join(facts.outside), 200)}" if facts.outside else ""
    lines = f"{t.count(facts.files, 'file')}, +{facts.added:,} −{facts.removed:,}"
    money = f"${facts.money:,.2f}"
    cost = money if facts.money else f"{t.compact(state.usage.tokens)} tokens"
    named = {
        "Tests": t.quoted(facts.tests, 200),
        "Pipeline": f"{run}{outside}",
        "Diff": lines,
        "Cost": cost,
        "Undo": _undo(state, gate),
        "Commits by": t.quoted(", ".join(facts.authors), 300),
    }
    return [f"*{name}*\n{value}" for name, value in named.items() if value]


def _attention(gate: Gate) -> list[str]:
    facts = gate.facts
    told: list[str] = []
    if facts.why:
        told.append(t.quoted(facts.why, 300))
    if facts.protected:
        more = len(facts.protected) - _PATHS
        named = ", ".join(t.code(path, 80) for path in facts.protected[:_PATHS])
        told.append(f"Touches {named}{f' and {more} more' if more > 0 else ''}.")
    if facts.weakened:
        named = "; ".join(
            f"{t.code(each.path, 80)}: {t.quoted(each.detail, 120)}"
            for each in facts.weakened[:_PATHS]
        )
        told.append(f"Accepted before the push: {named}.")
    told += [t.quoted(sentence, 300) for sentence in facts.gitlab[:4]]
    return told


def _votes(standing: GateState) -> str:
    needed = standing.gate.rule.approvals
    if not standing.votes or (needed == 1 and standing.closed):
        return ""
    names = ", ".join(_person(each) for each in standing.votes)
    return f"{len(standing.votes)} of {needed} approvals, by {names}."


def _buttons(state: RunState, standing: GateState) -> list[b.Element | None]:
    gate, closed = standing.gate, standing.closed
    view = b.button("View diff", "view_diff", url=f"{gate.url}/diffs", reads=f"View !{gate.iid}")
    if _open(state, standing):
        what = _what_plain(gate)
        approve = b.button(
            "Approve",
            "gate_approve",
            gate.id,
            style="primary",
            reads=f"Approve {gate.subject} of run {state.run}",
            confirm=b.confirmation(f"Approve {gate.subject}?", what, "Approve"),
        )
        reject = b.button(
            "Reject…",
            "gate_reject",
            gate.id,
            style="danger",
            reads=f"Reject {gate.subject} of run {state.run}",
        )
        return [approve, reject, view if gate.url else None]
    if closed and not closed.revise and _came_to_nothing(state, standing):
        return [
            b.button(
                "Ask again",
                "gate_again",
                str(state.run),
                reads=f"Ask again for {gate.subject} of run {state.run}",
            )
        ]
    return []


def _came_to_nothing(state: RunState, standing: GateState) -> bool:
    """It was the newest one, the run has ended, and what it stood before was not done."""
    newest = state.deliveries[-1] if state.deliveries else None
    if newest is None or standing is not state.gates[-1] or state.status not in ENDED:
        return False
    mine = (
        newest.number == standing.gate.delivery
        and newest.ended is not None
        and newest.ended.outcome != "delivered"
    )
    merged = newest.merged is not None and standing.gate.action is Action.MERGE
    return mine and not merged


def _what_plain(gate: Gate) -> str:
    if gate.action is Action.DEPLOY:
        return f"Deploys {gate.commit[:8]} to {gate.environment}."
    follows = f" and starts its deployment to {', '.join(gate.facts.deploys)}"
    return (
        f"Merges !{gate.iid} at {gate.commit[:8]} into {gate.target}"
        f"{follows if gate.facts.deploys else ''}."
    )


def _rule(state: RunState, gate: Gate) -> str:
    asker = t.user(state.request.requester.id)
    if gate.rule.self_approval:
        own = f"The settings allow {asker} to approve it, too."
    else:
        own = f"Not by {asker} or whoever else asked for it, instructed or committed it."
    until = t.at(gate.expires_at, "{date_short_pretty} {time}")
    bound = f"Until {until}, for exactly this commit: a new one asks anew."
    return f"Decided by {who(gate)}. {own} {bound}"


def _how(standing: GateState) -> str:
    closed = standing.closed
    if closed is None:
        return ""
    at = f" {t.at(standing.closed_at)}" if standing.closed_at else ""
    if closed.outcome in ("approved", "rejected") and closed.by:
        return f"{_ENDS[closed.outcome]} by {_known(closed.by)},{at}."
    return t.quoted(closed.reason, 400)


def _known(person: Person) -> str:
    role = _ROLES.get(person.access, "")
    at = f"{t.quoted(person.gitlab_username, 60)} at GitLab" if person.gitlab_username else ""
    inside = ", ".join(part for part in (at, role) if part)
    return f"{_person(person)} ({inside})" if inside else _person(person)


def _person(person: Person | None) -> str:
    return t.user(person.id) if person else "somebody"


def _plain(text: str) -> str:
    return text.replace("`", "")


def _decided(state: RunState, standing: GateState) -> Message:
    gate, closed = standing.gate, standing.closed
    assert closed is not None
    asker, subject = t.user(state.request.requester.id), t.quoted(gate.subject, 60)
    spoken = t.quoted(closed.by.name, 40) if closed.by else "somebody"
    outcome = closed.outcome
    told = f"{asker} *{_ENDS[outcome]}:* {subject}, by {_person(closed.by)}."
    if outcome == "rejected":
        told += f" {_next(standing)}"
    return b.message(
        f"decided:{gate.id}",
        state.seq,
        f"@{w.name(state)}, {subject} was {outcome} by @{spoken}.",
        {
            "head": b.section(told),
            "reason": b.quote(closed.reason) if outcome == "rejected" else None,
        },
    )


def _next(standing: GateState) -> str:
    """What becomes of it after a no."""
    gate = standing.gate
    if standing.closed and standing.closed.revise:
        return "The run goes on with the reason as an instruction."
    if gate.action is Action.DEPLOY:
        commit, where = t.code(gate.commit[:8]), t.quoted(gate.environment, 60)
        return f"The run has stopped: {commit} was not deployed to {where}. Its merge stays."
    request = t.link(gate.url, f"!{gate.iid}")
    return f"The run has stopped: {request} was not merged into {t.code(gate.target)}."
