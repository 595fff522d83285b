"""The one way out of the fetch phase: a proxy that lets through what `fetch_rules` permits."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.adapters.fetch_rules import (
    Asked,
    Denied,
    Endpoint,
    admit,
    is_literal,
    parse,
    permit,
    server_name,
)

_HEAD = 16 * 1024
_CONNECTIONS = 64
_HEAD_SECONDS, _DIAL_SECONDS, _IDLE_SECONDS, _TOTAL_SECONDS = 10.0, 15.0, 60.0, 900.0
_DOWN, _UP = 2 * 1024**3, 64 * 1024**2  # bytes one connection may carry each way
_CHUNK = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class Access:
    """One connection, for the log."""

    request: str
    allowed: bool
    detail: str  #: the address that was dialled, or why not
    up: int = 0
    down: int = 0


class FilteringProxy:
    """Listens on a unix socket at `path`, usable by `uid` (None: by this process's user).

    It resolves names itself, and dials only addresses that it has checked.
    """

    def __init__(
        self,
        path: Path,
        endpoints: Sequence[Endpoint],
        *,
        uid: int | None = None,
        log: Callable[[Access], None] | None = None,
    ) -> None:
        self._path = path
        self._endpoints = tuple(endpoints)
        self._uid = uid
        self._log = log
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> FilteringProxy:
        listener = _listen(self._path)
        if self._uid is not None:
            os.chown(self._path, self._uid, self._uid)
        self._path.chmod(0o600)
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=_HEAD)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server:
            self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._open) >= _CONNECTIONS:
            writer.close()
            return
        self._open.add(task)
        line = _Line()
        try:
            async with asyncio.timeout(_TOTAL_SECONDS):
                await self._handle(reader, writer, line)
        except Denied as error:
            self._note(line, str(error))
            await _answer(writer, line, 403, str(error))
        except (TimeoutError, EOFError, asyncio.LimitOverrunError, OSError) as error:
            self._note(line, f"{type(error).__name__}: {error}")
            await _answer(writer, line, 502, "the connection failed or took too long")
        except asyncio.CancelledError:
            pass  # the fetch phase is over
        finally:
            self._open.discard(task)
            writer.close()

    async def _handle(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: _Line
    ) -> None:
        async with asyncio.timeout(_HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        line.text = head.split(b"\r\n", 1)[0].decode("latin-1")[:200]
        asked = parse(head)
        endpoint = permit(asked, self._endpoints)
        addresses = await _resolve(asked, endpoint)
        first = asked.head
        if asked.tls:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            line.answered = True
            async with asyncio.timeout(_HEAD_SECONDS):
                first = await _greeting(reader, asked.host)
        upstream, upstream_writer, address = await _dial(addresses, asked.port)
        up, down = _Count(len(first), _UP), _Count(0, _DOWN)
        try:
            upstream_writer.write(first)
            # a plain request has been sent whole: what the client says after it goes nowhere
            pumps = [asyncio.create_task(_pump(upstream, writer, down))]
            if asked.tls:
                pumps.append(asyncio.create_task(_pump(reader, upstream_writer, up)))
            line.answered = True
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            upstream_writer.close()
            self._note(line, address, allowed=True, up=up.bytes, down=down.bytes)

    def _note(
        self, line: _Line, detail: str, *, allowed: bool = False, up: int = 0, down: int = 0
    ) -> None:
        if self._log:
            access = Access(request=line.text, allowed=allowed, detail=detail, up=up, down=down)
            self._log(access)


@dataclass
class _Line:
    """What is known of a request when it fails."""

    text: str = ""
    answered: bool = False  #: the client takes what comes now for the server's own words


@dataclass
class _Count:
    bytes: int
    limit: int


def _listen(path: Path) -> socket.socket:
    """Bound by way of the folder's descriptor, since a socket's path may not be long."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
    except OSError:
        listener.close()
        raise
    finally:
        os.close(folder)
    return listener


async def _resolve(asked: Asked, endpoint: Endpoint) -> list[str]:
    """Every answer has to be admissible, so that no retry can pick another."""
    if is_literal(asked.host):
        addresses = [asked.host.strip("[]")]
    else:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_DIAL_SECONDS):
            found = await loop.getaddrinfo(asked.host, asked.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(answer[4][0]) for answer in found))
    for address in addresses:
        admit(address, endpoint.scope)
    return addresses


async def _greeting(reader: asyncio.StreamReader, host: str) -> bytes:
    """The client's TLS greeting, once it is seen to ask for the host that it named before."""
    hello = b""
    while (name := server_name(hello)) is None:
        data = await reader.read(_HEAD)
        hello += data
        if not data or len(hello) > 2 * _HEAD:
            raise Denied("no TLS greeting came")
    if name != ("" if is_literal(host) else host):
        raise Denied(f"the TLS greeting asks for {name!r}")
    return hello


async def _dial(
    addresses: Sequence[str], port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
    problem = OSError("no address")
    for address in addresses:
        try:
            async with asyncio.timeout(_DIAL_SECONDS):
                reader, writer = await asyncio.open_connection(address, port)
            return reader, writer, address
        except OSError as error:
            problem = error
    raise problem


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, count: _Count) -> None:
    while True:
        async with asyncio.timeout(_IDLE_SECONDS):
            data = await source.read(_CHUNK)
        count.bytes += len(data)
        if not data or count.bytes > count.limit:
            return
        target.write(data)
        await target.drain()


async def _answer(writer: asyncio.StreamWriter, line: _Line, status: int, text: str) -> None:
    if line.answered:
        return
    body = f"refused by the sandbox's proxy: {text}\n".encode()
    head = f"HTTP/1.1 {status} Refused\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(OSError, TimeoutError):
        writer.write(head.encode() + body)
        async with asyncio.timeout(_HEAD_SECONDS):
            await writer.drain()
