"""Logs of other CI systems over HTTP, from where the settings allow it and from nowhere else."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from agent.adapters.fetch_rules import Denied, Scope, admit
from agent.errors import LogUnreadable
from agent.htmltext import HtmlText
from agent.outside import Place, allowed, place

SECONDS = 20.0  #: for all of it: looking the name up, redirects, the whole log
_PIECE = 512 * 1024
_REDIRECTS = 3
#: Where clouds tell machines their credentials, beside 169.254.169.254.
_METADATA = frozenset(
    ipaddress.ip_address(each) for each in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16")
)


class OutsideLogs:
    """`agent.ports.OutsideLogs`. Sends no credential, takes no cookie, uses no proxy."""

    def __init__(self, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds

    async def read(
        self, url: str, prefixes: Sequence[Place], sink: Callable[[bytes], None]
    ) -> None:
        try:
            wanted = place(url)
        except ValueError as error:
            raise LogUnreadable(f"Its address {error}.") from error
        below = allowed(wanted, prefixes)
        if below is None:
            raise LogUnreadable("Its address is not among those that may be read (`ci_logs`).")
        try:
            async with asyncio.timeout(self._seconds):
                await _read(wanted, below, sink)
        except TimeoutError as error:
            raise LogUnreadable(
                f"Its log was not there in full within {self._seconds:.0f} s."
            ) from error
        except Denied as error:
            raise LogUnreadable(f"Its log is not fetched: {error}.") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise LogUnreadable(f"Its log cannot be fetched ({type(error).__name__}).") from error


async def _read(wanted: Place, below: Place, sink: Callable[[bytes], None]) -> None:
    scope = Scope.ANY if below.literal else Scope.NETWORK
    connector = aiohttp.TCPConnector(resolver=_Resolver(scope), use_dns_cache=False, limit=1)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "text/plain, text/html;q=0.5", "Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
    ) as session:
        for _ in range(_REDIRECTS + 1):
            if wanted.literal and wanted.host != "localhost":
                _admit(wanted.host, scope)  # an address is not looked up
            async with session.get(URL(wanted.url, encoded=True), allow_redirects=False) as answer:
                where = answer.headers.get("Location", "")
                if answer.status in (301, 302, 303, 307, 308) and where:
                    wanted = _followed(wanted, where, below)
                    continue
                await _take(answer, sink)
                return
    raise LogUnreadable("Its log is behind too many redirects.")


def _followed(wanted: Place, where: str, below: Place) -> Place:
    try:
        to = place(urljoin(wanted.url, where))
    except ValueError as error:
        raise LogUnreadable(f"Its address leads to one that {error}.") from error
    if allowed(to, [below]) is None:
        raise LogUnreadable("Its address leads away from where logs may be read.")
    return to


async def _take(answer: aiohttp.ClientResponse, sink: Callable[[bytes], None]) -> None:
    if answer.status != 200:
        raise LogUnreadable(f"Its log was refused with HTTP status {answer.status}.")
    kind, packed = answer.content_type, answer.headers.get("Content-Encoding", "identity")
    if packed.lower() != "identity":
        raise LogUnreadable("Its log comes compressed, which was not asked for.")
    if kind not in ("text/plain", "text/html"):
        raise LogUnreadable("What stands there is neither plain text nor HTML.")
    page = HtmlText() if kind == "text/html" else None

    def work(piece: bytes) -> None:
        sink(page.feed(piece) if page else piece)

    held = bytearray()
    async for chunk in answer.content.iter_any():
        held += chunk
        if len(held) >= _PIECE:  # reading it takes a while, and others wait for the loop
            await asyncio.to_thread(work, bytes(held))
            held.clear()
    await asyncio.to_thread(work, bytes(held))
    if page:
        sink(page.end())


class _Resolver(AbstractResolver):
    """Connections go to exactly the addresses that were looked at; one that may not be had
    refuses the name, so that no retry can pick it."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys((each[0], str(each[4][0])) for each in found))
        for _, address in addresses:
            _admit(address, self._scope)
        return [_result(host, address, port, kind) for kind, address in addresses]

    async def close(self) -> None:
        pass


def _admit(address: str, scope: Scope) -> None:
    admit(address, scope)
    if scope is not Scope.ANY and ipaddress.ip_address(address.partition("%")[0]) in _METADATA:
        raise Denied("the name leads to where this machine's credentials are")


def _result(host: str, address: str, port: int, family: Any) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=family,
        proto=0,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
