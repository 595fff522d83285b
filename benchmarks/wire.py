"""Passes connections on. `python -m benchmarks.wire PORT HOST` does so for a port of loopback, to
the same port of a host: code is fetched from loopback, or by https."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from benchmarks.lag import end_with_parent


@asynccontextmanager
async def passed_on(host: str, port: int, target: str | tuple[str, int]) -> AsyncGenerator[int]:
    """From a port (0: any) to a socket in the file system, or to another address."""
    ends: set[asyncio.StreamWriter] = set()

    async def along(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.add(writer)
        try:
            if isinstance(target, str):
                there, back = await asyncio.open_unix_connection(target)
            else:
                there, back = await asyncio.open_connection(*target)
        except OSError:
            writer.close()
            return
        ends.add(back)
        await asyncio.gather(along(reader, back), along(there, writer))
        ends.difference_update((writer, back))

    server = await asyncio.start_server(serve, host, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for end in ends:
            end.transport.abort()


async def _serve(port: int, host: str) -> None:
    async with passed_on("127.0.0.1", port, (host, port)):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    end_with_parent()
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2]))
