"""What a person alone is shown about their GitLab account."""

from __future__ import annotations

from bot.views import blocks as b
from bot.views import text as t
from bot.views.blocks import Message

_ONCE = "The button works once, for ten minutes, and only you see it. Don't pass it on."


def offer(address: str) -> Message:
    told = (
        "I don't know your GitLab account yet, so I can't check what you may do, and nothing was "
        "done. Link it once: press the button, sign in at GitLab, and confirm. Then say again "
        "what you need."
    )
    return b.message(
        "link",
        1,
        told,
        {
            "head": b.section(told),
            "buttons": b.actions(_button("Link your GitLab account", address, style="primary")),
            "foot": b.context(_ONCE),
        },
    )


def settings(channel: str, username: str | None, address: str) -> Message:
    """`channel`: what holds there. `username`: at GitLab, when they are linked."""
    if username:
        account = f"You are linked to the GitLab user {t.code('@' + username)}."
        unlink = b.button(
            "Unlink",
            "unlink_account",
            confirm=b.confirmation(
                "Unlink your GitLab account?",
                "I can then do nothing for you until you link one again. Runs go on.",
                "Unlink",
            ),
        )
        buttons = b.actions(_button("Link another account", address), unlink)
    else:
        account = "Your GitLab account is not linked, so I can do nothing for you yet."
        buttons = b.actions(_button("Link your GitLab account", address, style="primary"))
    told = f"*Your account*\n{account}"
    return b.message(
        "settings",
        1,
        f"{channel}\n{told}",
        {
            "channel": b.section(channel),
            "account": b.section(told),
            "buttons": buttons,
            "foot": b.context(_ONCE),
        },
    )


def done(username: str) -> str:
    return (
        f"You are linked to the GitLab user {t.code('@' + username)} now. Please say again what "
        "you need."
    )


def unlinked(was_linked: bool) -> str:
    if not was_linked:
        return "No GitLab account was linked to you, so nothing was changed."
    return (
        "Your GitLab account is unlinked, and I do nothing for you any more. Runs that go on are "
        "not stopped. You can link an account again whenever you ask me for something."
    )


def _button(label: str, address: str, *, style: str = "") -> b.Element:
    return b.button(label, "view_link", url=address, style=style)
