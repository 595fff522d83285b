"""A push that waits for a person, and what came of it."""

from __future__ import annotations

from agent.events import PushHeld
from agent.pipeline import Violation
from agent.state import RunState
from bot.views import blocks as b
from bot.views import text as t
from bot.views import words as w
from bot.views.blocks import Message

_SHOWN = 15


def hold(state: RunState, links: w.Links) -> Message:
    """The newest hold of a run that has had one."""
    held = state.hold
    if held is None:
        raise ValueError(f"nothing of run {state.run} was held")
    page = links.run(state.run)
    return b.message(
        f"hold:{state.run}.{state.held_seq}",
        state.seq,
        _sentence(state, held),
        {
            "head": b.section(_head(state)),
            "facts": b.rich_text(_facts(held), limit=7000),
            "more": b.context(_more(held, page)),
            "act": b.actions(*_buttons(state)) if state.held else None,
            "foot": b.context(_foot(state, held)),
        },
        more=page,
    )


def reminder(state: RunState) -> Message:
    """Once, a quarter of the time after the hold began."""
    asker, waits = t.user(state.request.requester.id), state.held is not None
    told = (
        f"run {state.run} still waits for a maintainer to accept what holds its push; after a day "
        "it stops, and everything is kept."
        if waits
        else f"run {state.run} does not wait any more."
    )
    return b.message(
        f"hold_reminder:{state.run}.{state.held_seq}",
        state.seq,
        f"@{w.name(state)}, {told}",
        {"head": b.section(f"{asker} *Reminder:* {told}" if waits else f"*Reminder:* {told}")},
    )


def _sentence(state: RunState, held: PushHeld) -> str:
    run, count = state.run, t.count(len(held.violations), "fact")
    if state.held:
        return (
            f"@{w.name(state)}, run {run} is held before the push: a maintainer has to accept "
            f"{count} about the change ({w.rules(held.violations)})."
        )
    if by := _accepted_by(state, held):
        return f"Accepted by @{t.quoted(by[1], 40)}: {count} about the change of run {run}."
    return f"Not accepted, and no longer held: the push of run {run}."


def _head(state: RunState) -> str:
    if state.held:
        asker = t.user(state.request.requester.id)
        return f"{asker} *Held before the push:* green alone is not enough for this change."
    by = _accepted_by(state, state.hold)
    return f"*Accepted by {t.user(by[0])}*" if by else "*Held, and not accepted*"


def _facts(held: PushHeld) -> str:
    return "\n".join(f"- {_fact(each)}" for each in held.violations[:_SHOWN])


def _fact(found: Violation) -> str:
    path = t.line(found.path, 120).replace("`", "ˋ")
    where = f"`{path}{f':{found.line}' if found.line else ''}` — " if path else ""
    return f"{where}{t.line(found.detail, 300)}"


def _more(held: PushHeld, page: str) -> str:
    hidden = len(held.violations) - _SHOWN
    if hidden <= 0:
        return ""
    return f"{hidden:,} more" + (f": {t.link(page, 'the whole list')}" if page else "")


def _foot(state: RunState, held: PushHeld) -> str:
    if state.held is None:
        return ""
    project = t.code(state.request.project)
    who = f"A maintainer of {project} can accept this"
    if not held.self_accept:
        who += f", but not {t.user(state.request.requester.id)} or whoever gave it instructions"
    return (
        f"{who}. It counts for exactly this change, once. Requesting changes sends the run back to "
        "work instead. Nothing has been pushed, and the run uses nothing while it waits; after a "
        "day it stops, and everything is kept."
    )


def _buttons(state: RunState) -> list[b.Element]:
    accept = b.button(
        "Accept…",
        "hold_accept",
        f"{state.run}:{state.held_seq}",
        reads=f"Accept what holds the push of run {state.run}",
        confirm=b.confirmation(
            "Accept this?",
            "The change is then pushed as it is, with what is listed here. The merge request "
            "names you and lists it, too.",
            "Accept and push",
        ),
    )
    change = b.button(
        "Request changes…",
        "run_changes",
        str(state.run),
        reads=f"Request changes instead of accepting those of run {state.run}",
    )
    return [accept, change]


def _accepted_by(state: RunState, held: PushHeld | None) -> tuple[str, str] | None:
    last = state.lifted[-1] if state.lifted else None
    if held is None or last is None or (last.tree, last.violations) != (held.tree, held.violations):
        return None
    return last.by.id, last.by.name
