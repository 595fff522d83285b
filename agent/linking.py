"""Which GitLab account belongs to whom in Slack, and how somebody proves it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Account:
    """A user of GitLab. The name is for showing; the id is what counts."""

    id: int
    username: str


@dataclass(frozen=True, kw_only=True)
class LinkRequest:
    """Somebody in Slack asked to be linked, and is on the way."""

    team: str
    slack_user: str
    channel: str  #: where it was asked, and where the end is told
    thread_ts: str | None = None
    account: Account | None = None  #: once GitLab has told it


class SignIn(Protocol):
    """Asks GitLab who sits before the browser. Raises `ForgeUnavailable`, `Refused`."""

    def address(self, *, back: str, state: str, challenge: str) -> str:
        """Where the browser is sent. `challenge`: of PKCE, S256."""
        ...

    async def account(self, code: str, *, back: str, verifier: str) -> Account:
        """Whose code it is. Keeps no token of theirs."""
        ...


class LinkStore(Protocol):
    """Raises `StoreUnavailable`. Tokens and browsers are told by their digests."""

    async def account(self, team: str, slack_user: str) -> Account | None: ...
    async def holder(self, team: str, gitlab_id: int) -> str | None:
        """The Slack user that the account is linked to."""
        ...

    async def link(self, team: str, slack_user: str, account: Account) -> bool:
        """False when the account belongs to somebody else in the team."""
        ...

    async def unlink(self, team: str, slack_user: str) -> bool: ...

    async def ask(self, token: str, request: LinkRequest, *, good_for: timedelta) -> None: ...
    async def open(self, token: str, browser: str) -> LinkRequest | None:
        """Binds the request to the one browser that may go on; None from the second time on."""
        ...

    async def come_back(self, browser: str) -> LinkRequest | None:
        """From GitLab; None from the second time on."""
        ...

    async def prove(self, browser: str, account: Account) -> None: ...
    async def proven(self, browser: str) -> LinkRequest | None: ...
    async def end(self, browser: str) -> LinkRequest | None:
        """Takes what was proven out of the table: one caller gets it."""
        ...
