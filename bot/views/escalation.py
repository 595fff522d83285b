"""A run that needs a person: what was tried, and the ways out of it."""

from __future__ import annotations

from agent.events import Attempt, EffectFailed, Escalation
from agent.state import RunState
from bot.views import blocks as b
from bot.views import pipeline
from bot.views import text as t
from bot.views import words as w
from bot.views.blocks import Message


def escalated(state: RunState, links: w.Links) -> Message:
    """Of a run that a person has to look after."""
    reason = state.end.reason if state.end else state.reason
    report = state.end.escalation if state.end else None
    told = t.quoted((report.reason if report else "") or reason, 600)
    page = links.run(state.run)
    return b.message(
        f"escalation:{state.run}.{state.rounds}",
        state.seq,
        f"@{w.name(state)}, run {state.run} needs a person: {told}",
        {
            "head": b.section(
                f"*Needs a person* — {t.user(state.request.requester.id)}\n{told}\n"
                f"{w.kept(state)}{'' if w.delivered(state) else ' Nothing was merged.'}"
            ),
            "tests": b.context(f"Tests: {w.results(state.tests_change, state.tests_base)}"),
            "attempts": pipeline.table(state, report) if report and state.fixes else None,
            "report": b.rich_text(_report(state, report), limit=6000) if report else None,
            "act": b.actions(
                b.button(
                    "Try again with a hint…",
                    "run_hint",
                    str(state.run),
                    style="primary",
                    reads=f"Try run {state.run} again with a hint",
                ),
                *_ways_out(state),
                b.button(
                    "View merge request",
                    "view_merge_request",
                    url=state.merge_request.url,
                    reads=f"View merge request {state.merge_request.iid} in GitLab",
                )
                if state.merge_request and state.merge_request.url
                else None,
            ),
            "taken": b.context(taken(state)),
            "foot": b.context(
                w.usage_line(state), t.link(page, "Timeline of the run") if page else ""
            ),
        },
        more=page,
    )


def _report(state: RunState, report: Escalation) -> str:
    lines: list[str] = []
    listed = report.attempts if not state.fixes else ()  # else a table shows them
    if listed:
        lines.append("**What was tried**")
    for attempt in listed:
        failing = ", ".join(f"`{t.line(test, 80)}`" for test in attempt.failing[:3])
        more = f" and {len(attempt.failing) - 3} more" if len(attempt.failing) > 3 else ""
        still = f" Still failing: {failing}{more}." if failing else ""
        tried = t.line(attempt.tried, 300).rstrip(".")
        lines.append(f"- Attempt {attempt.number}{_where(state, attempt)}: {tried}.{still}")
    if report.likely_cause:
        lines.append(f"**Most likely cause:** {report.likely_cause}")
    if report.not_tried:
        lines.append(f"**Not tried:** {report.not_tried}")
    return "\n".join(lines)


def _where(state: RunState, attempt: Attempt) -> str:
    """Most attempts are never committed; the run's page has each tree as a checkpoint."""
    if attempt.tree is None:
        return ""
    made = next((c.commit for c in state.commits if c.tree == attempt.tree), None)
    return f" (commit {made[:8]})" if made else f" (not committed, tree {attempt.tree[:8]})"


def taken(state: RunState) -> str:
    """Whose it is now, when a person has taken it over or stopped it for good."""
    trouble = state.trouble
    if state.taken_over and isinstance(trouble, EffectFailed) and trouble.retry_in is None:
        return (
            f"Taken over by {t.user(state.taken_over.by.id)}, but GitLab could not be told: "
            f"{t.quoted(trouble.problem, 300)} Assign the merge request to yourself there."
        )
    if state.taken_over:
        return (
            f"Taken over by {t.user(state.taken_over.by.id)}: branch and merge request are theirs. "
            "The run adds nothing to them until somebody asks it to."
        )
    if state.stop and state.merge_request:
        return (
            f"Stopped by {t.user(state.stop.by.id)}: comments on the merge request are not taken "
            "up any more. A mention here still is."
        )
    return ""


def _ways_out(state: RunState) -> list[b.Element]:
    """Without a merge request there is nothing to take over, and nothing that is still heard."""
    if state.merge_request is None or state.taken_over:
        return []
    run = str(state.run)
    take = b.button(
        "I'll take over",
        "run_take_over",
        run,
        reads=f"Take over the merge request of run {run}; it is then assigned to you",
    )
    stop = b.button("Stop", "run_stop", run, reads=f"Stop run {run}; what it has made is kept")
    return [take] if state.stop else [take, stop]
