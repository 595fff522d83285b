"""Who is linked to which GitLab account, without the way through a browser."""

from __future__ import annotations

from collections.abc import Mapping

from agent.adapters.database import Database
from agent.linking import Account


async def link(db: Database, team: str, people: Mapping[str, int]) -> None:
    """`people`: Slack user -> GitLab id."""
    for user, number in people.items():
        account = Account(id=number, username=f"user{number}")
        assert await db.people.link(team, user, account), f"{number} belongs to somebody else"
