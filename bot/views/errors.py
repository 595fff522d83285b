"""Refusals and apologies: what happened, what is kept, what to do.

Sentences of plain words; `refused` makes them fit for Slack.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.views import text as t


def refused(reason: str) -> str:
    """`reason` may quote what somebody wrote."""
    return t.escape(reason)


def undecided() -> str:
    return (
        "I could not check this, so nothing was decided so far. I could not note that down "
        "either: your click is stored, and may still be carried out once my database answers "
        "again. Look at the request in the thread before you press anything again."
    )


def unavailable(reason: str) -> str:
    return t.escape(f"{reason} Your message is kept, and I will try again by myself.")


def broken(error_id: str) -> str:
    return (
        f"Something broke on our side (error `{error_id}`). What you asked for may have been done "
        "before that: look in the thread, and try again if it was not. If it happens again, give "
        "this number to the operator."
    )


def given_up(delivery: int) -> str:
    return (
        "I broke down over this message five times, so I have stopped trying and nothing more "
        f"comes of it. It is kept as delivery {delivery} for the operator; please say it again in "
        "other words."
    )


def no_projects() -> str:
    return (
        "No project is set up for this channel, so I can't start anything here. Ask an operator "
        "to allow one under [channels] in journeyman.toml."
    )


def not_allowed_here(project: str, allowed: Sequence[str]) -> str:
    listed = ", ".join(f"`{path}`" for path in allowed)
    return (
        f"`{t.line(project)}` may not be worked on from this channel; allowed here: {listed}. Ask "
        "in another channel, or ask an operator to allow it under [channels] in journeyman.toml."
    )


def other_project(project: str) -> str:
    return (
        f"This thread works on `{project}`. For another project, mention me in a new message, or "
        "begin with `new`."
    )


def bound() -> str:
    return (
        "A run keeps its branch, model and plan for good, so nothing was added. To work with "
        "others, begin with `new`."
    )


def ended(run: int) -> str:
    return f"Run {run} has already ended, so there is nothing to stop."


def begun_since(run: int) -> str:
    return (
        f"Run {run} was asked for after you said that, so it goes on. Say it again if this one is "
        "meant."
    )


def taken_back() -> str:
    return (
        "I had not begun with what you asked for here, and nothing comes of it any more. Mention "
        "me again when you want it after all."
    )


def begun_already(run: int) -> str:
    return f"Run {run} has begun with that choice already. Say `stop` in its thread to stop it."


def no_run() -> str:
    return "There is no run in this thread. Mention me with what you need, and I start one."


def not_yours() -> str:
    return "Only the person who asked can choose here, since it is their request."


def expired() -> str:
    return "That choice has expired after an hour. Mention me again with what you need."


def gone() -> str:
    return "The message that this choice belongs to is gone, so nothing was started."


def late_answer() -> str:
    return "That question has been answered already, or the run has gone on without an answer."
