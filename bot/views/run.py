"""The status card: one message a run, edited as the run goes on."""

from __future__ import annotations

from agent import events as e
from agent.run import ENDED, Person, RunStatus
from agent.state import RunState
from bot.views import blocks as b
from bot.views import delivery, pipeline
from bot.views import text as t
from bot.views import words as w
from bot.views.blocks import Message

_SHOWN_FOLLOWUPS = 3


def card(state: RunState, links: w.Links) -> Message:
    page = links.run(state.run)
    return b.message(
        w.subject(state.run),
        state.seq,
        _sentence(state),
        {
            "head": b.section(_head(state), accessory=_menu(state, page)),
            "plan": b.plan(state.plan) if state.plan and state.plan.steps else None,
            "notes": b.context(*_notes(state)),
            "foot": b.context(_foot(state)),
        },
        more=page,
    )


def _sentence(state: RunState) -> str:
    told = f"Run {state.run} on {t.quoted(state.request.project)}: {w.spoken(state)}"
    if state.plan and state.plan.steps and state.status not in ENDED:
        told += f", {state.plan.done} of {len(state.plan.steps)} steps done"
    return f"{told}. Requested by @{w.name(state)}."


def _head(state: RunState) -> str:
    base = w.base_branch(state)
    where = [t.code(state.request.project)]
    if base:
        where[0] += f" from {t.code(base)}"
    if state.pushed:
        where.append(f"branch {t.code(w.branch(state))}")
    where.append(f"for {t.user(state.request.requester.id)}")
    first = f"*Run {state.run} · {w.headline(state)}* — {w.request_title(state)}"
    return "\n".join(line for line in (first, ", ".join(where), _now(state)) if line)


def _now(state: RunState) -> str:
    """What happens at this moment, or what holds it up."""
    if state.frozen and state.status not in ENDED and not state.stop:
        return t.quoted(state.frozen.freeze.sentence, 400)
    if state.trouble and state.status not in ENDED:
        return _trouble(state.trouble)
    if state.stop and state.status not in ENDED:
        return f"{t.user(state.stop.by.id)} asked to stop. The running command is being ended."
    match state.status:
        case RunStatus.QUEUED | RunStatus.FAILED | RunStatus.ESCALATED:
            return t.quoted(state.reason, 400)
        case RunStatus.WAITING_FOR_ANSWER if state.held:
            return "Nothing is pushed before a maintainer accepts what the message below lists."
        case RunStatus.PLANNING | RunStatus.WORKING if state.doing:
            return f"Running: {t.quoted(state.doing.summary, 160)}"
        case RunStatus.PLANNING | RunStatus.WORKING if state.last_tool:
            return f"Last: {t.quoted(state.last_tool.summary, 160)}"
        case RunStatus.PLANNING if state.workspace is None:
            return "Fetching the project."
        case RunStatus.PLANNING:
            return "Reading the project and deciding what to do."
        case RunStatus.TESTING if state.heals:
            return "Running the project's tests again on the repaired change."
        case RunStatus.TESTING:
            return "Running the project's own tests on the change."
        case RunStatus.WATCHING:
            return pipeline.now(state)
        case RunStatus.WAITING_FOR_APPROVAL | RunStatus.DELIVERING:
            return delivery.now(state)
        case RunStatus.SUCCEEDED if state.merge_request:
            return _done(state, state.merge_request)
        case _:
            return ""


def _done(state: RunState, request: e.EffectDone) -> str:
    if w.delivered(state):
        return t.quoted(state.reason, 400)
    shown = t.link(request.url, f"!{request.iid}")
    told = f"Draft merge request {shown}: {w.diff(w.changed_files(state))}."
    if state.reason:
        return f"{told} {t.quoted(state.reason, 300)}"
    said = pipeline.field(state)
    return f"{told} Pipeline {said}." if said else told


def _trouble(trouble: e.ModelFailed | e.EffectFailed) -> str:
    told = t.quoted(trouble.problem, 300)
    if trouble.retry_in is None:
        return told
    again = f"Retrying in {t.duration(trouble.retry_in)}"
    if trouble.attempts:
        again += f", {trouble.attempt + 1} of {trouble.attempts}"
    return f"{told} {again}. Nothing is lost."


def _notes(state: RunState) -> list[str]:
    notes: list[str] = []
    verdict = state.tests_change if state.status in ENDED else None
    if report := verdict or state.tests_during:
        notes.append(f"Tests: {w.results(report, state.tests_base)}")
    elif state.tests_base:
        notes.append(f"Tests before any change: {w.results(state.tests_base)}")
    if state.dependencies and state.dependencies.problem:
        notes.append(t.quoted(state.dependencies.problem, 300))
    if state.plan and (grounds := w.grounded(state)):
        notes.append(grounds)
    for followup in state.followups[-_SHOWN_FOLLOWUPS:]:
        taken = followup.taken_at_step
        how = "waiting for the next step" if taken is None else f"picked up at step {taken}"
        by, said = _by(followup.given.by), t.quoted(followup.given.text, 80)
        if followup.given.approves:
            notes.append(f"Plan approved by {by}, {how}")
        else:
            notes.append(f"Follow-up from {by}, {how}: “{said}”")
    return notes


def _foot(state: RunState) -> str:
    parts = [w.usage_line(state), f"updated {t.at(state.updated_at)}"]
    if state.resumed_at_step is not None and state.status not in ENDED:
        parts.append(f"resumed after a restart at step {state.resumed_at_step}")
    return " · ".join(parts)


def _menu(state: RunState, page: str) -> b.Element:
    options = [b.option("Open timeline", f"timeline:{state.run}", page)] if page else []
    options.append(b.option("Add instructions…", f"follow_up:{state.run}"))
    if state.status not in ENDED:
        options.append(b.option("Stop run…", f"stop:{state.run}"))
    return {"type": "overflow", "action_id": "run_menu", "options": options}


def _by(person: Person) -> str:
    """Somebody who spoke at GitLab may be nobody in Slack."""
    in_slack = t.user(person.id)
    return in_slack if in_slack.startswith("<@") else f"@{t.quoted(person.name, 40)} at GitLab"
