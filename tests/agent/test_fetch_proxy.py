"""The proxy on its unix socket, with servers on the loopback as the world outside."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from test_fetch_rules import hello

from agent.adapters.fetch_proxy import Access, FilteringProxy
from agent.adapters.fetch_rules import Endpoint, Scope


class World:
    """A server that notes what it is sent, and answers it."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            self.received.append(await reader.read(65536))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
            await writer.drain()
        writer.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    server = await asyncio.start_server(world.serve, "127.0.0.1", 0)
    world.port = server.sockets[0].getsockname()[1]
    async with server:
        yield world


@contextlib.asynccontextmanager
async def proxy(path: Path, *endpoints: Endpoint) -> AsyncIterator[tuple[Path, list[Access]]]:
    log: list[Access] = []
    async with FilteringProxy(path / "proxy.sock", endpoints, log=log.append):
        yield path / "proxy.sock", log


async def talk(path: Path, *messages: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    answer = b""
    for message in messages:
        writer.write(message)
        await writer.drain()
        if message.startswith(b"CONNECT") and message is not messages[-1]:
            answer += await reader.readuntil(b"\r\n\r\n")
    async with asyncio.timeout(30):
        answer += await reader.read()
    writer.close()
    return answer


def plain(world: World, **changes: object) -> Endpoint:
    chosen = {"host": "127.0.0.1", "tls": False, "scope": Scope.ANY, "port": world.port, **changes}
    return Endpoint(**chosen)  # type: ignore[arg-type]


async def test_a_plain_request_to_a_configured_host_is_carried(tmp_path: Path, world: World):
    async with proxy(tmp_path, plain(world)) as (path, log):
        request = f"GET http://127.0.0.1:{world.port}/simple/ HTTP/1.1\r\nHost: evil\r\n\r\n"
        smuggled = b"GET http://evil.test/ HTTP/1.1\r\n\r\n"
        answer = await talk(path, request.encode() + smuggled)
    assert answer.endswith(b"hello")
    assert world.received[0].startswith(b"GET /simple/ HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"evil" not in world.received[0]
    assert [(entry.allowed, entry.detail) for entry in log] == [(True, "127.0.0.1")]
    assert log[0].down > 5


async def test_a_tunnel_whose_greeting_names_the_same_host_is_carried(tmp_path: Path, world: World):
    endpoint = plain(world, host="localhost", tls=True)
    async with proxy(tmp_path, endpoint) as (path, _):
        connect = f"CONNECT localhost:{world.port} HTTP/1.1\r\n\r\n".encode()
        answer = await talk(path, connect, hello("localhost"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"hello")
    assert world.received == [
        hello_like for hello_like in world.received if b"localhost" in hello_like
    ]


@pytest.mark.parametrize(
    ("greeting", "why"),
    [
        (hello("evil.test"), "asks for 'evil.test'"),
        (hello(None), "asks for ''"),
        (b"GET / HTTP/1.1\r\n\r\n", "does not begin with TLS"),
    ],
)
async def test_a_tunnel_to_somebody_else_ends_before_it_begins(
    tmp_path: Path, world: World, greeting: bytes, why: str
):
    endpoint = plain(world, host="localhost", tls=True)
    async with proxy(tmp_path, endpoint) as (path, log):
        connect = f"CONNECT localhost:{world.port} HTTP/1.1\r\n\r\n".encode()
        await talk(path, connect, greeting)
    assert world.received == []
    assert why in log[0].detail
    assert not log[0].allowed


@pytest.mark.parametrize("scope", [Scope.PUBLIC, Scope.NETWORK])
async def test_a_name_that_leads_back_to_this_machine_is_refused(
    tmp_path: Path, world: World, scope: Scope
):
    async with proxy(tmp_path, plain(world, host="localhost", scope=scope)) as (path, log):
        request = f"GET http://localhost:{world.port}/ HTTP/1.1\r\n\r\n"
        answer = await talk(path, request.encode())
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert world.received == []
    assert "address" in log[0].detail or "machine" in log[0].detail


async def test_an_unknown_host_is_refused_with_the_reason(tmp_path: Path, world: World):
    async with proxy(tmp_path, plain(world)) as (path, log):
        answer = await talk(path, b"CONNECT evil.test:443 HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"not one that this machine's package managers are configured for" in answer
    assert log[0].request == "CONNECT evil.test:443 HTTP/1.1"


async def test_a_head_without_end_is_refused(tmp_path: Path, world: World):
    async with proxy(tmp_path, plain(world)) as (path, _):
        answer = await talk(path, b"GET http://x/ HTTP/1.1\r\nA: " + b"x" * 40_000)
    assert answer.startswith(b"HTTP/1.1 502 ") or answer == b""
    assert world.received == []


async def test_a_server_that_is_not_there_is_told(tmp_path: Path, world: World):
    dead = plain(world, port=1)
    async with proxy(tmp_path, dead) as (path, log):
        answer = await talk(path, b"GET http://127.0.0.1:1/ HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert not log[0].allowed


async def test_the_end_of_the_phase_ends_open_connections(tmp_path: Path, world: World):
    async with proxy(tmp_path, plain(world)) as (path, _):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"GET ")
        await asyncio.sleep(0.05)
    assert await reader.read() == b""
    writer.close()
    assert not path.exists()
