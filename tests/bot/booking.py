"""The book of digests at a moment of the database's clock."""

from __future__ import annotations

from datetime import datetime

from agent.adapters.database import Database
from agent.adapters.postgres_digests import DigestStore


class BookAt(DigestStore):
    def __init__(self, db: Database, moment: datetime) -> None:
        super().__init__(db.pool)
        self.moment = moment

    async def now(self) -> datetime:
        return self.moment
