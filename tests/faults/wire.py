"""A way to PostgreSQL that a test can cut, close, or cut right behind a commit."""

from __future__ import annotations

import asyncio
from types import TracebackType
from urllib.parse import parse_qs, urlsplit


class Wire:
    """Listens on loopback. `lose`: after the next COMMIT of a connection that has sent this, the
    server has it and the client never hears so; `lose_sent`: right after this was sent, where a
    statement is a transaction; `lose_answer`: an answer with this in it. `deaf`: what is sent is
    lost on the way, and nobody is told."""

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        self._socket = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
        self._parts = parts
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.down = False
        self.deaf = False
        self.lose = b""
        self.lose_sent = b""
        self.lose_answer = b""
        self.lost = 0

    async def __aenter__(self) -> Wire:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        user, path = self._parts.username, self._parts.path
        return f"postgresql://{user}@127.0.0.1:{port}{path}?sslmode=disable"

    def cut(self, *, down: bool = False) -> None:
        """Every connection breaks; with `down` no new one is answered either."""
        self.down = down
        for writer in tuple(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.down:
            writer.transport.abort()
            return
        there_reader, there = await asyncio.open_unix_connection(self._socket)
        ends = {writer, there}
        self._open |= ends
        ways = (self._forth(reader, there, writer), self._back(there_reader, writer))
        tasks = {asyncio.create_task(way) for way in ways}
        self._tasks |= tasks
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.transport.abort()
        await asyncio.wait(tasks)
        self._open -= ends
        self._tasks -= tasks

    async def _forth(
        self,
        reader: asyncio.StreamReader,
        there: asyncio.StreamWriter,
        here: asyncio.StreamWriter,
    ) -> None:
        armed = False
        try:
            while data := await reader.read(65_536):
                if self.deaf:
                    continue
                armed = armed or bool(self.lose and self.lose in data)
                there.write(data)
                await there.drain()
                if sent := bool(self.lose_sent and self.lose_sent in data):
                    self.lose_sent = b""
                if committed := armed and bool(self.lose) and b"COMMIT" in data:
                    self.lose = b""
                if sent or committed:
                    self.lost += 1
                    here.transport.abort()
                    await asyncio.sleep(0.2)  # the server takes it in
                    return
        except OSError:
            pass

    async def _back(self, reader: asyncio.StreamReader, here: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                if self.lose_answer and self.lose_answer in data:
                    self.lose_answer, self.lost = b"", self.lost + 1
                    here.transport.abort()
                    return
                here.write(data)
                await here.drain()
        except OSError:
            pass
