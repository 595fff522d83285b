"""What became of a change after its merge request: merged, deployed, taken back."""

from __future__ import annotations

from agent.delivery import Delivery
from agent.events import DeploymentSeen
from agent.gate import Action
from agent.pipeline import Verdict
from agent.run import RunStatus
from agent.state import RunState
from bot.views import blocks as b
from bot.views import text as t
from bot.views import words as w
from bot.views.blocks import Message

_VERDICTS = {
    Verdict.AWAITED: "not there yet",
    Verdict.RUNNING: "running",
    Verdict.GREEN: "passed",
    Verdict.RED: "failed",
    Verdict.ABSENT: "none came",
    Verdict.SKIPPED: "skipped",
    Verdict.CANCELED: "canceled",
    Verdict.MANUAL: "waits for a job to be started",
    Verdict.BLOCKED: "waits at GitLab",
    Verdict.OTHER_COMMIT: "ran for another commit",
}
_DEPLOYED = {
    "success": "deployed",
    "failed": "failed",
    "canceled": "canceled",
    "skipped": "skipped",
    "manual": "waits to be started",
    "created": "waits for its turn",
    "pending": "waits for a runner",
}
_KINDS = {"change": "Merged", "promotion": "Promoted", "revert": "Taken back"}


def messages(state: RunState, links: w.Links) -> dict[str, Message]:
    """By slot: one message for each merge, edited until its pipeline and deployments are over, and
    a word for the asker once it runs where people let it go."""
    shown: dict[str, Message] = {}
    for each in state.deliveries:
        if each.merged:
            shown[f"delivery:{each.number}"] = _merged(state, each, links)
        if each.merged and _awaited(state, each):
            shown[f"deployed:{each.number}"] = _told_deployed(state, each)
    return shown


def now(state: RunState) -> str:
    """The card's line while a change is on its way."""
    if state.status is RunStatus.WAITING_FOR_APPROVAL and state.gate:
        deed = "merged" if state.gate.gate.action is Action.MERGE else "deployed"
        return f"Nothing is {deed} before it is approved in the message below."
    delivery = state.delivery
    if delivery is None:
        return ""
    if delivery.merged is None:
        request = _request(delivery) if delivery.iid else t.code(delivery.begun.source)
        if state.reason:
            return t.quoted(state.reason, 300)
        return f"Bringing {request} into {t.code(delivery.begun.target)}."
    moving = [d for d in delivery.deployments if d.job.status in ("pending", "running")]
    if moving:
        return f"Deploying to {', '.join(t.quoted(d.environment, 40) for d in moving)}."
    seen = delivery.target
    told = _VERDICTS[seen.judgement.verdict] if seen else "not there yet"
    return f"Merged into {t.code(delivery.begun.target)}; its pipeline: {told}."


def said(delivery: Delivery) -> str:
    """What has been merged where, in plain words."""
    merged = f" as {delivery.merged[:8]}" if delivery.merged else ""
    return f"!{delivery.iid} into {t.quoted(delivery.begun.target, 60)}{merged}"


def _merged(state: RunState, delivery: Delivery, links: w.Links) -> Message:
    begun, ended = delivery.begun, delivery.ended
    asker = t.user(state.request.requester.id)
    kind = _KINDS[begun.kind]
    bad = ended is not None and ended.outcome != "delivered"
    title = f"{kind}, but it needs a person" if bad else kind
    if ended and bad:
        told = t.quoted(ended.reason, 600)
    else:
        told = "\n".join(t.quoted(f"{each}.", 300) for each in (ended.unreached if ended else ()))
    if ended and bad:
        spoken = f"{title}: {said(delivery)}. {t.quoted(ended.reason, 400)}"
    elif ended and ended.reason:
        spoken = t.quoted(ended.reason, 400)
    else:
        spoken = f"{kind}: {said(delivery)}. Its pipeline is watched."
    commit = t.code(delivery.merged[:8]) if delivery.merged else "its merge"
    where = f"{_request(delivery)} into {t.code(begun.target)} as {commit}"
    return b.message(
        f"delivery:{state.run}.{delivery.number}",
        state.seq,
        f"@{w.name(state)}: {spoken}",
        {
            "head": b.section(f"{asker} *{title}:* {where}\n{told}".rstrip()),
            "facts": b.section(fields=_fields(state, delivery)),
            "act": b.actions(*(() if _awaited(state, delivery) else _buttons(state, delivery))),
        },
        more=links.run(state.run),
    )


def _awaited(state: RunState, delivery: Delivery) -> list[DeploymentSeen]:
    """What people let go there, once it runs there."""
    if delivery.ended is None or delivery.ended.outcome != "delivered":
        return []
    asked = {
        each.gate.environment
        for each in state.gates
        if each.approved and each.gate.delivery == delivery.number
    }
    return [d for d in delivery.deployments if d.environment in asked]


def _told_deployed(state: RunState, delivery: Delivery) -> Message:
    assert delivery.merged is not None
    commit = delivery.merged[:8]
    names = [t.quoted(each.environment, 40) for each in _awaited(state, delivery)]
    places = [
        f"*{name}*" + (f" ({_address(each.url)})" if each.url else "")
        for name, each in zip(names, _awaited(state, delivery), strict=True)
    ]
    asker = t.user(state.request.requester.id)
    where = f"{t.code(commit)} ({_request(delivery)}) to {' and '.join(places)}"
    return b.message(
        f"deployed:{state.run}.{delivery.number}",
        state.seq,
        f"@{w.name(state)}: {commit} (!{delivery.iid}) is deployed to {' and '.join(names)}.",
        {
            "head": b.section(f"{asker} *Deployed:* {where}"),
            "act": b.actions(*_buttons(state, delivery)),
        },
    )


def _address(url: str) -> str:
    return t.link(url, url.partition("://")[2].rstrip("/") or url)


def _fields(state: RunState, delivery: Delivery) -> list[str]:
    seen, target = delivery.target, delivery.begun.target
    verdict = _VERDICTS[seen.judgement.verdict if seen else Verdict.AWAITED]
    pipeline = seen.pipeline if seen else None
    shown = t.link(pipeline.url, verdict) if pipeline and pipeline.url else verdict
    before = delivery.before
    if before and before.judgement.verdict is Verdict.RED:
        shown += ", and failed before the merge, too"
    fields = [f"*Pipeline of {t.quoted(target, 40)}*\n{shown}"]
    fields += [
        f"*{t.quoted(each.environment, 40)}*\n{_deployed(each)}" for each in delivery.deployments
    ]
    decided = [
        f"{t.user(vote.id)} ({t.quoted(each.gate.subject, 40)})"
        for each in state.gates
        if each.approved and each.gate.delivery == delivery.number
        for vote in each.votes
    ]
    by = ", ".join(dict.fromkeys(decided)) or "its rule, nobody was asked"
    return [*fields, f"*Approved by*\n{by}"]


def _deployed(seen: DeploymentSeen) -> str:
    word = _DEPLOYED.get(seen.job.status, t.quoted(seen.job.status, 40))
    shown = t.link(seen.job.url, word) if seen.job.url else word
    if seen.url and seen.job.status == "success":
        shown += f" to {_address(seen.url)}"
    return shown


def _buttons(state: RunState, delivery: Delivery) -> list[b.Element | None]:
    """Only on the newest merge, once nothing of it is on its way."""
    ended = delivery.ended
    if ended is None or delivery is not state.deliveries[-1]:
        return []
    value = str(state.run)
    promote = delivery.begun.promote
    forward = (
        b.button(
            f"Promote to {promote}…",
            "deliver_promote",
            value,
            style="primary",
            reads=f"Promote {delivery.begun.target} to {promote}",
            confirm=b.confirmation(
                f"Promote to {promote}?",
                f"Opens a merge request from {delivery.begun.target} into {promote}. It is merged "
                "only as the rule of that branch says.",
                "Promote",
            ),
        )
        if promote and ended.outcome == "delivered" and delivery.begun.kind != "revert"
        else None
    )
    back = b.button(
        "Revert…",
        "deliver_revert",
        value,
        style="danger",
        reads=f"Revert {said(delivery)}",
        confirm=b.confirmation(
            f"Revert !{delivery.iid}?",
            f"Opens a merge request that takes it back from {delivery.begun.target}. It is merged "
            "only as the rule of that branch says.",
            "Revert",
        ),
    )
    look = b.button(
        "Look again",
        "gate_again",
        value,
        reads=f"Look again at {said(delivery)}",
    )
    again = look if ended.outcome in ("left", "broken") else None
    return [forward, again, back if delivery.begun.kind != "revert" else None]


def _request(delivery: Delivery) -> str:
    return t.link(delivery.url, f"!{delivery.iid}") if delivery.url else f"!{delivery.iid}"
