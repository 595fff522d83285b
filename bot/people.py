"""From a Slack user to a `Person`: by the `[people]` table only, never by name or mail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.errors import Refused
from agent.run import Person
from bot.slack import Identity, Slack


@dataclass(frozen=True, kw_only=True)
class People:
    slack: Slack
    identity: Identity
    gitlab_ids: Mapping[str, int]

    async def person(self, user: str) -> Person:
        """Raises `Refused` for whoever may not give instructions at all."""
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
        if user not in self.gitlab_ids:
            raise Refused(
                "I don't know your GitLab account, so I can't check what you may do. Ask an "
                f"operator to add the line {user} = <your GitLab user id> under [people] in "
                "journeyman.toml."
            )
        return Person(id=user, name=member.name, gitlab_id=self.gitlab_ids[user])
