"""Short replies that belong to no run: the project picker, help, status, settings."""

from __future__ import annotations

from collections.abc import Sequence

from agent.run import Limits, Run
from agent.state import RunState
from bot.views import blocks as b
from bot.views import pipeline
from bot.views import text as t
from bot.views import words as w
from bot.views.blocks import Message

_PICKABLE = 100  # options that Slack allows in a menu

HELP = """\
*How to work with me*
• `@agent add an endpoint that exports invoices as CSV` starts a run. I plan, change the code, \
run the project's tests and open a draft merge request. What is merged or deployed, your rules and \
your approvals decide.
• In the thread of a run, mention me again to add instructions; I read them before my next step.
• `@agent status` · `stop` · `retry` · `help` · `settings` · `maintenance`
• `@agent new …` starts another run in the same thread. `!aside …` is for people only: I don't \
read it.
• `@agent freeze` holds all runs of a project until `unfreeze`, `@agent stop all` ends them; \
`everywhere` means every project. For maintainers, and everywhere for operators.
*Options*, anywhere in the message: `project=group/name` `branch=main` `model=…` `plan=only`"""


def picker(message_ts: str, asker: str, candidates: Sequence[str], request: str) -> Message:
    """Asks which project is meant; the choice belongs to the asker."""
    options = [b.option(path, path) for path in candidates[:_PICKABLE]]
    choose: b.Element = {
        "type": "static_select",
        "action_id": "pick_project",
        "placeholder": b.plain("Choose a project"),
        "options": options,
    }
    return b.message(
        f"pick:{message_ts}",
        1,
        "Which project is this for? Please choose one.",
        {
            "head": b.section(
                f"{t.user(asker)} *Which project is this for?*\n“{t.quoted(request)}”"
            ),
            "pick": b.actions(choose, b.button("Cancel", "pick_cancel", message_ts)),
            "foot": b.context(
                "Nothing is done before you choose. The choice expires in an hour. "
                "Next time you can say `project=group/name`."
            ),
        },
    )


def picked(message_ts: str, told: str) -> Message:
    return b.message(f"pick:{message_ts}", 2, told, {"head": b.section(told)})


def help_text() -> Message:
    return b.message("help", 1, "How to work with me.", {"head": b.section(HELP)})


def status(state: RunState, links: w.Links) -> str:
    """One run in a sentence or two."""
    page = links.run(state.run)
    plan = ""
    if state.plan and state.plan.steps:
        plan = f", {state.plan.done} of {len(state.plan.steps)} steps done"
    request = state.merge_request
    where = f" Draft merge request {t.link(request.url, f'!{request.iid}')}." if request else ""
    tests = (
        f" Tests: {w.results(state.tests_change, state.tests_base)}." if state.tests_change else ""
    )
    checked = pipeline.field(state)
    told = f" Pipeline: {checked}." if checked else ""
    timeline = f" {t.link(page, 'Timeline')}" if page else ""
    return (
        f"*Run {state.run}: {w.headline(state)}*{plan} — {w.request_title(state)} "
        f"({w.usage_line(state)}).{tests}{where}{told}{timeline}"
    )


def running(runs: Sequence[Run], links: w.Links) -> str:
    """The runs that stand open."""
    if not runs:
        return "Nothing is running here. Mention me with what you need to start a run."
    lines: list[str] = []
    for run in runs[:10]:
        label = f"Run {run.id}"
        page = links.run(run.id)
        told = t.link(page, label) if page else label
        state = run.status.value.replace("_", " ")
        lines.append(f"• {told}, {state}: {t.quoted(run.request.text, 100)}")
    more = f"\n… and {len(runs) - 10} more." if len(runs) > 10 else ""
    return "\n".join(lines) + more


def settings(allowed: Sequence[str], default: str | None, limits: Limits) -> str:
    """What holds in a channel."""
    if not allowed:
        return (
            "No project may be worked on from this channel. An operator can allow one under "
            "[channels] in journeyman.toml."
        )
    listed = ", ".join(t.code(path) for path in allowed)
    chosen = f" Without `project=` I take {t.code(default)}." if default else ""
    caps = (
        f"{t.count(limits.steps, 'step')}, {t.compact(limits.tokens)} tokens, "
        f"${limits.money:.2f}, {t.duration(limits.seconds)} of work"
    )
    return (
        f"*Settings of this channel*\nProjects: {listed}.{chosen}\nEach run may use at most "
        f"{caps}. An operator can change this in journeyman.toml."
    )
