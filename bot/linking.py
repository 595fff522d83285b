"""How somebody in Slack proves which GitLab account is theirs.

A link that only they are shown opens once and binds the request to the browser that opened it.
That browser signs in at GitLab, comes back, and is shown both accounts before anything is stored:
whoever was sent somebody else's link sees there for whom it was made.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import secrets
from dataclasses import dataclass
from datetime import timedelta

from agent.errors import Refused
from agent.linking import Account, LinkRequest, LinkStore, SignIn
from bot.people import People
from bot.slack import Member, Slack
from bot.views import link as view

log = logging.getLogger("journeyman.linking")

GOOD_FOR = timedelta(minutes=10)
GONE = (
    "This link is no longer good: it works once, in one browser, for ten minutes. Nothing was "
    "linked. Ask for a new one in Slack with `@agent settings`."
)
_FOREIGN = (
    "This browser did not open the link, or has opened another one since. Nothing was linked. Ask "
    "for a new link in Slack with `@agent settings`, and stay in the browser that it opens in."
)


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Both sides of a link, for the person to confirm."""

    member: Member
    workspace: str
    account: Account
    form: str  #: has to come back with the confirmation


@dataclass(frozen=True, kw_only=True)
class Linking:
    slack: Slack
    people: People
    links: LinkStore
    sign_in: SignIn
    public_url: str

    # --- in Slack

    async def offer(self, user: str, channel: str, thread_ts: str | None) -> None:
        address = await self._address(user, channel, thread_ts)
        await self.slack.tell(channel, user, thread_ts, view.offer(address))

    async def tell_settings(
        self, user: str, channel: str, thread_ts: str | None, settings: str
    ) -> None:
        """The settings of a channel, and how the asker is linked."""
        account = await self.links.account(self._team, user)
        address = await self._address(user, channel, thread_ts)
        shown = view.settings(settings, account.username if account else None, address)
        await self.slack.tell(channel, user, thread_ts, shown)

    async def unlink(self, user: str) -> bool:
        """False when there was no link."""
        gone = await self.links.unlink(self._team, user)
        log.info("unlinked", extra={"user": user, "was_linked": gone})
        return gone

    async def _address(self, user: str, channel: str, thread_ts: str | None) -> str:
        token = secrets.token_urlsafe(32)
        request = LinkRequest(
            team=self._team, slack_user=user, channel=channel, thread_ts=thread_ts
        )
        await self.links.ask(_digest(token), request, good_for=GOOD_FOR)
        return f"{self.public_url.rstrip('/')}/link/{token}"

    # --- in the browser

    async def begin(self, token: str) -> tuple[str, str]:
        """The secret of this browser, and where at GitLab it goes. Raises `Refused`."""
        browser = secrets.token_urlsafe(32)
        if await self.links.open(_digest(token), _digest(browser)) is None:
            raise Refused(GONE)
        challenge = hashlib.sha256(_derived(browser, "verifier").encode()).digest()
        address = self.sign_in.address(
            back=self._back,
            state=_derived(browser, "state"),
            challenge=base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
        )
        return browser, address

    async def prove(self, browser: str, *, state: str, code: str) -> Proof:
        """Back from GitLab, without a code when the person declined. Raises `Refused`."""
        _check(browser, "state", state)
        request = await self.links.come_back(_digest(browser))
        if request is None:
            raise Refused(GONE)
        if not code:
            raise Refused(
                "GitLab was not allowed to say who you are, so nothing was linked. If you want to "
                "link your account, ask for a new link in Slack with `@agent settings`."
            )
        member = await self.people.member(request.slack_user)
        account = await self.sign_in.account(
            code, back=self._back, verifier=_derived(browser, "verifier")
        )
        await self._check_free(request, account)
        await self.links.prove(_digest(browser), account)
        return self._proof(browser, member, account)

    async def confirm(self, browser: str, form: str) -> Proof:
        """Stores the link and says so in Slack. Raises `Refused`."""
        _check(browser, "form", form)
        request = await self.links.end(_digest(browser))
        if request is None or request.account is None:
            raise Refused(GONE)
        member = await self.people.member(request.slack_user)
        former = await self._check_free(request, request.account)
        if former:
            await self.links.unlink(request.team, former)
        if not await self.links.link(request.team, request.slack_user, request.account):
            raise Refused(GONE)
        log.info("linked", extra={"user": request.slack_user, "gitlab": request.account.id})
        done = view.done(request.account.username)
        await self.slack.tell(request.channel, request.slack_user, request.thread_ts, done)
        return self._proof(browser, member, request.account)

    async def decline(self, browser: str, form: str) -> None:
        _check(browser, "form", form)
        await self.links.end(_digest(browser))

    async def _check_free(self, request: LinkRequest, account: Account) -> str | None:
        """One GitLab account speaks for one person. Returns who had it, when that account of Slack
        was deactivated."""
        holder = await self.links.holder(request.team, account.id)
        if holder is None or holder == request.slack_user:
            return None
        other = await self.slack.member(holder)
        if other.deactivated:
            return holder
        raise Refused(
            f"The GitLab user @{account.username} is linked to the Slack user {other.name} "
            f"(@{other.handle}) already, and one account speaks for one person. Nothing was "
            "changed. If that is you, too, unlink it there with `@agent settings` first; if not, "
            "tell an administrator of your GitLab."
        )

    def _proof(self, browser: str, member: Member, account: Account) -> Proof:
        return Proof(
            member=member,
            workspace=self.people.identity.workspace,
            account=account,
            form=_derived(browser, "form"),
        )

    @property
    def _team(self) -> str:
        return self.people.identity.team

    @property
    def _back(self) -> str:
        return f"{self.public_url.rstrip('/')}/link/done"


def _check(browser: str, purpose: str, given: str) -> None:
    expected = _derived(browser, purpose).encode()
    if not browser or not hmac.compare_digest(expected, _bytes(given)):
        raise Refused(_FOREIGN)


def _derived(browser: str, purpose: str) -> str:
    """What only the browser's secret leads to: the database keeps no more than its digest."""
    return hmac.new(_bytes(browser), purpose.encode(), hashlib.sha256).hexdigest()


def _digest(secret: str) -> str:
    return hashlib.sha256(_bytes(secret)).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
