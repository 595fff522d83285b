"""What is frozen, and the answers to freeze, unfreeze and stop all."""

from __future__ import annotations

from collections.abc import Sequence

from agent.freeze import EVERYWHERE, Freeze
from agent.run import Person, Run
from bot.views import blocks as b
from bot.views import text as t
from bot.views import words as w
from bot.views.blocks import Message

_LISTED = 20


def standing(freezes: Sequence[Freeze]) -> str:
    """A line for each, empty when nothing is frozen."""
    return "\n".join(f"*Frozen:* {_told(each)}" for each in freezes)


def frozen(freeze: Freeze, by: Person) -> Message:
    """`by`: who asked; another one may have frozen it before."""
    already = "" if freeze.by.id == by.id else "It was frozen before; that freeze stands. "
    return _answer(
        f"{_named(freeze.scope)} frozen by @{t.quoted(freeze.by.name, 40)}.",
        f"*Frozen:* {_told(freeze)}",
        f"{already}Nothing is begun, gone on with or changed at GitLab for it. What was at work "
        f"waits and goes on by itself after {t.code(_word('unfreeze', freeze.scope))}. "
        "Deadlines go on.",
    )


def thawed(ended: Freeze | None, scope: str, by: Person, still: Sequence[Freeze]) -> Message:
    """`still`: what holds the scope all the same."""
    rest = f"This still holds:\n{standing(still)}" if still else ""
    if ended is None:
        plain = f"There was no freeze of {_what(scope)} itself."
        return _answer(plain, f"There was no freeze of {_shown(scope)} itself.", rest)
    return _answer(
        f"{_named(scope)} unfrozen by @{t.quoted(by.name, 40)}.",
        f"*Unfrozen:* {_shown(scope)}, by {t.user(by.id)}.",
        rest or "What was held goes on by itself.",
    )


def stopped(runs: Sequence[Run], scope: str, by: Person, links: w.Links) -> Message:
    """The runs as they were told to stop; those at work end within a second."""
    count = t.count(len(runs), "run")
    if not runs:
        told = f"No run of {_what(scope)} is open, so there was nothing to stop."
        return _answer(told, f"No run of {_shown(scope)} is open, so there was nothing to stop.")
    listed = ", ".join(
        t.link(page, f"run {run.id}") if (page := links.run(run.id)) else f"run {run.id}"
        for run in runs[:_LISTED]
    )
    more = f" and {len(runs) - _LISTED} more" if len(runs) > _LISTED else ""
    return _answer(
        f"{count} of {_what(scope)} stopped by @{t.quoted(by.name, 40)}.",
        f"*Stopped:* {count} of {_shown(scope)}, by {t.user(by.id)}: {listed}{more}.",
        "What each has done is kept; `retry` in its thread goes on with it. New runs can be "
        "started: `freeze` prevents that.",
    )


def _answer(plain: str, head: str, foot: str = "") -> Message:
    blocks = {"head": b.section(head), "foot": b.context(foot) if foot else None}
    return b.message("operators", 1, plain, blocks)


def _told(freeze: Freeze) -> str:
    since = t.at(freeze.at, "{date_short_pretty} {time}")
    why = f": {t.quoted(freeze.reason, 300)}" if freeze.reason else ""
    return f"{_shown(freeze.scope)}, by {t.user(freeze.by.id)} since {since}{why}"


def _shown(scope: str) -> str:
    return "everything" if scope == EVERYWHERE else t.code(scope)


def _what(scope: str) -> str:
    return "everything" if scope == EVERYWHERE else t.quoted(scope)


def _named(scope: str) -> str:
    """At the beginning of a sentence."""
    return "Everything" if scope == EVERYWHERE else t.quoted(scope)


def _word(verb: str, scope: str) -> str:
    return f"{verb} everywhere" if scope == EVERYWHERE else f"{verb} project={scope}"
