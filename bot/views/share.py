"""What became of the runs that a night has made, each in a line."""

from __future__ import annotations

from agent.maintenance.night import Errand, Group
from agent.run import ENDED, WAITING, RunStatus
from agent.state import RunState
from bot.views import pipeline
from bot.views import text as t
from bot.views import words as w


def group(made: Group, state: RunState | None) -> str:
    told = t.quoted(made.title, 120)
    if made.waits:
        return f"{told}: {t.quoted(made.waits, 200)}"
    return told if state is None else f"{told}: {_published(state)}"


def errand(given: Errand, state: RunState | None) -> str:
    """What the agent was given, and a merge request or why there is none."""
    return f"The agent: {t.quoted(given.title, 120)}: {_came_of(state)}"


def _came_of(state: RunState | None) -> str:
    if state is None:
        return "nothing is known of it"
    if state.merge_request:
        return _published(state)
    if state.status not in ENDED:
        return "still at work"
    if state.status is RunStatus.SUCCEEDED:
        said = state.end.answer if state.end else ""
        return f"nothing was changed: {t.quoted(said or 'no reason was given', 200)}"
    return f"gave up: {t.quoted(state.reason or 'no reason was kept', 200)}"


def _published(state: RunState) -> str:
    request = state.merge_request
    where = t.link(request.url, f"!{request.iid}") if request else w.headline(state).lower()
    parts = [
        where,
        w.headline(state).lower() if request and state.status in WAITING else "",
        "merged" if w.delivered(state) else "",
        pipeline.phrase(state),
    ]
    return ", ".join(part for part in parts if part)
