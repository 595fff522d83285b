"""The PostgreSQL of the tests of this process, to be shot down and started again."""

from __future__ import annotations

import asyncio

from agent.adapters.embedded_postgres import EmbeddedPostgres


class Server:
    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._files = postgres._where
        self._up = True

    def refused(self, database: str) -> int:
        """How many connections to it the server had no place for so far."""
        return self._files.log.read_text().count(f'too many connections for database "{database}"')

    async def down(self) -> None:
        """As after a power cut: nothing is written any more, nobody is told."""
        self._up = False
        data = ("-D", str(self._files.data))
        await asyncio.to_thread(self._files.run, "pg_ctl", "stop", "-m", "immediate", *data)

    async def up(self) -> None:
        """It has recovered, and answers."""
        if not self._up:
            where = ("-D", str(self._files.data), "-l", str(self._files.log))
            await asyncio.to_thread(self._files.run, "pg_ctl", "start", "-w", "-t", "60", *where)
            self._up = True

    async def restart(self) -> None:
        await self.down()
        await self.up()
