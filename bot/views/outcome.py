"""How a run ended: one new message, since somebody should know."""

from __future__ import annotations

from agent.plan import Plan
from agent.run import ENDED, RunStatus
from agent.state import RunState
from bot.views import blocks as b
from bot.views import pipeline
from bot.views import text as t
from bot.views import words as w
from bot.views.blocks import Block, Message
from bot.views.escalation import escalated, taken

_SUMMARY = 600


def outcome(state: RunState, links: w.Links) -> Message:
    """Of a run that has ended."""
    if state.status is RunStatus.CANCELLED:
        return _stopped(state, links)
    if state.status is RunStatus.ESCALATED:
        return escalated(state, links)
    if state.status is RunStatus.FAILED:
        return _failed(state, links)
    if state.plan_stands and state.plan:
        return proposal(state, links, state.plan)
    if state.end and state.end.answer:
        return _answer(state, links)
    return result(state, links)


def result(state: RunState, links: w.Links) -> Message:
    """What has been made, as soon as it stands."""
    request, nothing = state.merge_request, w.changed_nothing(state)
    files = () if nothing else w.changed_files(state)
    asker, ended = t.user(state.request.requester.id), state.status in ENDED
    done = state.status is RunStatus.SUCCEEDED
    title = _title(state)
    if nothing:
        more = f"more had to be changed on draft merge request !{request.iid}" if request else ""
        where = said = f"nothing {more or 'had to be changed'}"
    elif request:
        kind = "merge request" if w.delivered(state) else "draft merge request"
        into = f", merged into {t.code(w.base_branch(state))}" if w.delivered(state) else ""
        where = f"{kind} {t.link(request.url, f'!{request.iid}')}{into}"
        said = f"{kind} !{request.iid} on {t.quoted(state.request.project)}"
    else:
        where = said = f"branch {t.code(w.branch(state))}"
    if request and state.earlier_commits and files and not w.delivered(state):
        verb, spoken_verb = ("Updated:" if done else "Updated"), "has updated"
    elif done:
        verb, spoken_verb = "Done:", "is done:"
    else:
        verb, spoken_verb = "Opened", "has opened"
    checked = pipeline.field(state)
    tests = "" if nothing else f" Tests: {w.results(state.tests_change, state.tests_base)}."
    spoken = f" Pipeline: {pipeline.short(state)}." if checked and ended else ""
    fields = [
        f"*Tests after*\n{w.results(state.tests_change, state.tests_base)}" if not nothing else "",
        f"*Tests before*\n{w.results(state.tests_base)}" if not nothing else "",
        f"*Pipeline*\n{checked}" if checked else "",
        f"*Diff*\n{w.diff(files)}" if files else "",
        # it would change with every step, and the card shows it until then
        f"*Time and cost*\n{w.usage_line(state)}" if ended else "",
    ]
    view = b.button(
        "View diff",
        "view_diff",
        url=f"{request.url}/diffs" if request else "",
        reads=f"View the diff of run {state.run} in GitLab",
    )
    change = b.button(
        "Request changes…",
        "run_changes",
        str(state.run),
        reads=f"Request changes to the result of run {state.run}",
    )
    return b.message(
        f"result:{state.run}.{state.rounds}",
        state.seq,
        f"@{w.name(state)}, run {state.run} {spoken_verb} {said}.{tests}{spoken}",
        {
            "head": b.section(f"{asker} *{verb}* {where}{title}"),
            "summary": b.rich_text(w.summary(state), limit=_SUMMARY),
            "repaired": b.context(_repaired(state)),
            "facts": b.section(fields=[field for field in fields if field]),
            "act": b.actions(view if request and files else None, change if files else None),
            "note": b.context(_disclaimer(state)),
            "feedback": _feedback(state),
        },
        more=links.run(state.run),
    )


def _title(state: RunState) -> str:
    """Empty where the summary below begins with it."""
    if w.changed_nothing(state):
        return f" — {w.request_title(state)}" if state.rounds == 1 else ""
    raw = state.commits[-1].title if state.commits else state.request.text
    return "" if w.summary(state).startswith(raw) else f" — {t.quoted(raw)}"


def _answer(state: RunState, links: w.Links) -> Message:
    return b.message(
        f"answer:{state.run}.{state.rounds}",
        state.seq,
        f"@{w.name(state)}, here is the answer to: {w.request_title(state)}",
        {
            "head": b.section(f"{t.user(state.request.requester.id)} *Answer*"),
            "answer": b.rich_text(state.end.answer if state.end else "", limit=6000),
            "note": b.context(
                f"Read from {_source(state)}; nothing was changed. {_author(state)} Check the "
                "places it names before you rely on it."
            ),
            "feedback": _feedback(state),
        },
        more=links.run(state.run),
    )


def proposal(state: RunState, links: w.Links, plan: Plan) -> Message:
    """A plan, with buttons until somebody has set it going."""
    steps = "\n".join(f"{n}. {t.line(s.title)}" for n, s in enumerate(plan.steps, 1))
    assumed = "; ".join(t.quoted(a, 200) for a in plan.assumptions)
    files = ", ".join(t.code(path, 80) for path in plan.files[:15])
    approve = b.button(
        "Approve plan",
        "plan_approve",
        str(state.run),
        style="primary",
        reads=f"Approve the plan of run {state.run}; the work then starts",
    )
    change = b.button(
        "Change…", "run_changes", str(state.run), reads=f"Change the plan of run {state.run}"
    )
    spoken, decided = "is ready. Nothing has been changed.", "Nothing has been changed yet."
    if state.proposed:
        given = state.proposed.given
        how = "approved" if given.approves else "set going with changes"
        spoken = f"was {how} by @{t.quoted(given.by.name, 40)}."
        decided = f"{how.capitalize()} by {t.user(given.by.id)}."
    return b.message(
        f"plan:{state.run}.1",
        state.seq,
        f"@{w.name(state)}, the plan for “{w.request_title(state)}” {spoken}",
        {
            "head": b.section(
                f"{t.user(state.request.requester.id)} *Plan* — {w.request_title(state)}"
            ),
            "steps": b.rich_text(steps or (state.end.summary if state.end else "")),
            "facts": b.context(
                f"Assumes: {assumed}" if assumed else "",
                f"Likely to touch: {files}" if files else "",
                w.grounded(state),
                decided,
            ),
            "act": None if state.proposed else b.actions(approve, change),
        },
        more=links.run(state.run),
    )


def _stopped(state: RunState, links: w.Links) -> Message:
    by = t.user(state.stop.by.id) if state.stop else "the service"
    spoken = f"@{t.quoted(state.stop.by.name, 40)}" if state.stop else "the service"
    step = f" at step {state.calls}" if state.calls else ""
    page = links.run(state.run)
    return b.message(
        f"stopped:{state.run}.{state.rounds}",
        state.seq,
        f"Run {state.run} was stopped by {spoken}{step}.",
        {
            "head": b.section(f"*Stopped by {by}{step}.* {w.kept(state)}"),
            "taken": b.context(taken(state)),
            "act": b.actions(_again("Resume", state)),
            "foot": b.context(t.link(page, "Timeline of the run") if page else ""),
        },
        more=page,
    )


def _failed(state: RunState, links: w.Links) -> Message:
    end, page = state.end, links.run(state.run)
    asker = t.user(state.request.requester.id)
    if end and end.error_id:
        what = f"Something broke on our side (error {t.code(end.error_id, 40)})."
    else:
        what = t.quoted(end.reason if end else state.reason, 600) or "The run could not go on."
    return b.message(
        f"failed:{state.run}.{state.rounds}",
        state.seq,
        f"@{w.name(state)}, run {state.run} failed. {what}",
        {
            "head": b.section(f"{asker} *Failed.* {what}\n{w.kept(state)}"),
            "act": b.actions(_again("Try again", state)),
            "foot": b.context(t.link(page, "Timeline of the run") if page else ""),
        },
        more=page,
    )


def _again(label: str, state: RunState) -> b.Element:
    return b.button(label, "run_retry", str(state.run), reads=f"{label}: run {state.run}")


def _source(state: RunState) -> str:
    if state.workspace is None:
        return t.code(state.request.project)
    at = f"{state.workspace.branch}@{state.workspace.base[:8]}"
    return f"{t.code(state.request.project)} at {t.code(at)}"


def _author(state: RunState) -> str:
    model = f" ({t.quoted(state.model, 60)})" if state.model else ""
    return f"Written by a language model{model}."


def _disclaimer(state: RunState) -> str:
    told = [_author(state)]
    if w.changed_nothing(state):
        return told[0]
    if state.tests_change:
        told.append("The tests were run by me, not by the model.")
    if not w.delivered(state):
        told.append("Please read the diff before you merge.")
    return " ".join(told)


def _repaired(state: RunState) -> str:
    """What broke on the way; the card that showed it has been edited since."""
    if not state.heals:
        return ""
    broke = state.heals[0].failing
    named = f" ({t.code(broke[0], 100)}{' and more' if len(broke) > 1 else ''})" if broke else ""
    attempts = t.count(len(state.heals), "attempt")
    return f"My first version failed tests{named}; repaired in {attempts}."


def _feedback(state: RunState) -> Block:
    def button(label: str, value: str) -> b.Element:
        return {
            "text": b.plain(label),
            "value": f"{value}:{state.run}",
            "accessibility_label": f"{label}, about run {state.run}",
        }

    return {
        "type": "context_actions",
        "elements": [
            {
                "type": "feedback_buttons",
                "action_id": "run_feedback",
                "positive_button": button("Good result", "good"),
                "negative_button": button("Poor result", "bad"),
            }
        ],
    }


def stranded(state: RunState) -> Message:
    """For who asked alone, when the thread cannot be written to any more."""
    what = "an approval" if state.gate else "an answer"
    told = (
        f"I can't write to the thread of run {state.run} (“{w.request_title(state)}”) any more, "
        f"and it waits there for {what}. Nothing is merged or deployed without it, and the run "
        "ends by itself when nobody decides in time. Let me into the channel again, or ask anew "
        "elsewhere."
    )
    return b.message(f"stranded:{state.run}", state.seq, told, {"head": b.section(told)}, more="")
