"""GitLab's people, as its REST API gives them."""

from __future__ import annotations

import re

from agent.adapters.gitlab_payloads import Json, integer, text
from agent.ports import ForgeUser

#: How GitLab names the users of access tokens and service accounts.
_BOT = re.compile(r"(project|group)_\d+_bot.*|service_account_.*")
_MAILS = ("email", "public_email", "commit_email")


def user(found: Json, host: str) -> ForgeUser:
    """`host`: of GitLab, which gives everybody a private address of their own."""
    number, username = integer(found, "id"), text(found, "username")
    private = f"users.noreply.{host}"
    mails = {text(found, name) for name in _MAILS} - {""}
    mails |= {f"{number}-{username}@{private}", f"{username}@{private}"}
    return ForgeUser(
        id=number,
        username=username,
        name=text(found, "name"),
        active=text(found, "state") == "active" and not found.get("locked"),
        bot=bool(found.get("bot")) or _BOT.fullmatch(username) is not None,
        external=bool(found.get("external")),
        emails=frozenset(mail.lower() for mail in mails),
    )
