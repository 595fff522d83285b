"""Links between Slack users and GitLab accounts, and the requests for such links."""

from __future__ import annotations

from datetime import timedelta

import asyncpg

from agent.adapters.postgres import Pool, Row
from agent.adapters.postgres_retry import retried
from agent.linking import Account, LinkRequest

ACCOUNT = """
SELECT gitlab_id, gitlab_username FROM people WHERE team = $1 AND slack_user = $2"""
HOLDER = "SELECT slack_user FROM people WHERE team = $1 AND gitlab_id = $2"
LINK = """
INSERT INTO people (team, slack_user, gitlab_id, gitlab_username) VALUES ($1, $2, $3, $4)
ON CONFLICT (team, slack_user) DO UPDATE SET gitlab_id = EXCLUDED.gitlab_id,
    gitlab_username = EXCLUDED.gitlab_username, linked_at = clock_timestamp()"""
UNLINK = "DELETE FROM people WHERE team = $1 AND slack_user = $2 RETURNING 1"

FORGET = "DELETE FROM link_requests WHERE expires_at < clock_timestamp()"
ASK = """
INSERT INTO link_requests (token, team, slack_user, channel, thread_ts, expires_at)
VALUES ($1, $2, $3, $4, $5, clock_timestamp() + $6::interval) ON CONFLICT DO NOTHING"""
_SHOWN = "team, slack_user, channel, thread_ts, gitlab_id, gitlab_username"
OPEN = f"""
UPDATE link_requests SET browser = $2
WHERE token = $1 AND browser IS NULL AND expires_at > clock_timestamp()
RETURNING {_SHOWN}"""
COME_BACK = f"""
UPDATE link_requests SET returned = true
WHERE browser = $1 AND NOT returned AND expires_at > clock_timestamp()
RETURNING {_SHOWN}"""
PROVE = """
UPDATE link_requests SET gitlab_id = $2, gitlab_username = $3
WHERE browser = $1 AND returned AND gitlab_id IS NULL"""
PROVEN = f"""
SELECT {_SHOWN} FROM link_requests
WHERE browser = $1 AND gitlab_id IS NOT NULL AND expires_at > clock_timestamp()"""
END = f"""
DELETE FROM link_requests
WHERE browser = $1 AND gitlab_id IS NOT NULL AND expires_at > clock_timestamp()
RETURNING {_SHOWN}"""


class PeopleStore:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def account(self, team: str, slack_user: str) -> Account | None:
        row = await retried(lambda: self._pool.fetchrow(ACCOUNT, team, slack_user))
        return _account(row) if row else None

    async def holder(self, team: str, gitlab_id: int) -> str | None:
        return await retried(lambda: self._pool.fetchval(HOLDER, team, gitlab_id))

    async def link(self, team: str, slack_user: str, account: Account) -> bool:
        """False when the account belongs to somebody else in the team."""
        named = (team, slack_user, account.id, account.username)
        try:
            await retried(lambda: self._pool.execute(LINK, *named))
        except asyncpg.UniqueViolationError:
            return False
        return True

    async def unlink(self, team: str, slack_user: str) -> bool:
        return bool(await retried(lambda: self._pool.fetchval(UNLINK, team, slack_user)))

    async def ask(self, token: str, request: LinkRequest, *, good_for: timedelta) -> None:
        await retried(lambda: self._pool.execute(FORGET))
        asked = (token, request.team, request.slack_user, request.channel, request.thread_ts)
        await retried(lambda: self._pool.execute(ASK, *asked, good_for))

    async def open(self, token: str, browser: str) -> LinkRequest | None:
        return await self._request(OPEN, token, browser)

    async def come_back(self, browser: str) -> LinkRequest | None:
        return await self._request(COME_BACK, browser)

    async def prove(self, browser: str, account: Account) -> None:
        named = (browser, account.id, account.username)
        await retried(lambda: self._pool.execute(PROVE, *named))

    async def proven(self, browser: str) -> LinkRequest | None:
        return await self._request(PROVEN, browser)

    async def end(self, browser: str) -> LinkRequest | None:
        return await self._request(END, browser)

    async def _request(self, query: str, *named: str) -> LinkRequest | None:
        row = await retried(lambda: self._pool.fetchrow(query, *named))
        return _request(row) if row else None


def _account(row: Row) -> Account:
    return Account(id=row["gitlab_id"], username=row["gitlab_username"])


def _request(row: Row) -> LinkRequest:
    return LinkRequest(
        team=row["team"],
        slack_user=row["slack_user"],
        channel=row["channel"],
        thread_ts=row["thread_ts"],
        account=_account(row) if row["gitlab_id"] is not None else None,
    )
