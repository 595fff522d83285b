"""From a Slack user to a `Person`: by what they have proven at GitLab, never by name or mail."""

from __future__ import annotations

from dataclasses import dataclass

from agent.errors import NotLinked, Refused
from agent.linking import LinkStore
from agent.run import Person
from bot.slack import Identity, Member, Slack


@dataclass(frozen=True, kw_only=True)
class People:
    slack: Slack
    identity: Identity
    links: LinkStore

    async def person(self, user: str) -> Person:
        """Raises `Refused` for whoever may not give instructions at all, `NotLinked` for whom
        nobody knows at GitLab."""
        member = await self.member(user)
        account = await self.links.account(self.identity.team, user)
        if account is None:
            raise NotLinked("I don't know your GitLab account, so I can't check what you may do.")
        return Person(
            id=user, name=member.name, gitlab_id=account.id, gitlab_username=account.username
        )

    async def member(self, user: str) -> Member:
        """As Slack knows them at this moment. Raises `Refused`."""
        member = await self.slack.member(user)
        if member.bot:
            raise Refused("I take requests from people only, not from apps.")
        if member.deactivated:
            raise Refused("This account is deactivated in Slack, so I can't act for it.")
        if member.guest:
            raise Refused(
                "Guests of this workspace can't start or steer runs. Please ask a full member."
            )
        if member.external or (member.team and member.team != self.identity.team):
            raise Refused(
                "You are from another workspace, and only members of this one can start or steer "
                "runs. Please ask one of them."
            )
        return member
