"""Refusals and apologies: what happened, what is kept, what to do."""

from __future__ import annotations

from collections.abc import Sequence

from bot.views import text as t


def refused(reason: str) -> str:
    """`reason` is a whole sentence of ours; it may quote what a person wrote."""
    return t.escape(reason)


def broken(error_id: str) -> str:
    return (
        f"Something broke on our side (error {t.code(error_id, 40)}). Your message is kept and "
        "no run was changed. Please try again; if it happens again, tell the operator this "
        "error's number."
    )


def unavailable(reason: str) -> str:
    return f"{t.escape(reason)} Your message is kept; I will try again by myself."


def no_projects(channel: str) -> str:
    return (
        f"No project is set up for <#{channel}>, so I can't start anything here. An operator can "
        "allow one under [channels] in journeyman.toml."
    )


def not_allowed_here(project: str, allowed: Sequence[str]) -> str:
    listed = ", ".join(t.code(path) for path in allowed) or "none"
    return (
        f"{t.code(project)} may not be worked on from this channel. Allowed here: {listed}. Ask "
        "in another channel, or have an operator allow it under [channels] in journeyman.toml."
    )


def other_project(thread_project: str) -> str:
    return (
        f"This thread works on {t.code(thread_project)}. To work on another project, mention me "
        "in a new message, or begin with `new`."
    )


def no_run() -> str:
    return "There is no run in this thread. Mention me with what you need to start one."


def not_yours(asker: str) -> str:
    return f"Only {t.user(asker)} can choose here, since it is their request."


def expired() -> str:
    return "That choice has expired after an hour. Mention me again with what you need."
