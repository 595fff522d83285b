"""What may pass the filtering proxy: pure decisions on bytes, names and addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_CONNECT = re.compile(r"CONNECT ([A-Za-z0-9.-]+|\[[0-9a-f:]+\]):([0-9]{1,5}) HTTP/1\.[01]")
_PLAIN = re.compile(
    r"(GET|HEAD) http://([A-Za-z0-9.-]+|\[[0-9a-f:]+\])(?::([0-9]{1,5}))?(/[!-~]*)? HTTP/1\.[01]"
)
_HEADER = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*[^\x00\r\n]*")
_OWN_HEADERS = {
    *(b"host", b"connection", b"proxy-connection", b"proxy-authorization", b"keep-alive"),
    *(b"content-length", b"transfer-encoding", b"upgrade", b"expect", b"te", b"trailer"),
}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Denied(Exception):
    """The request is refused; the text says why, for the log and the package manager."""


class Scope(StrEnum):
    """Which addresses a name may resolve to."""

    PUBLIC = "public"
    NETWORK = "network"  # private ones too, as company mirrors have, but not this machine
    ANY = "any"  # this machine was configured to use it, wherever it is


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A host that packages may come from; ".example.org" stands for every name below it."""

    host: str
    port: int = 443
    tls: bool = True
    scope: Scope = Scope.PUBLIC


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A well-formed request. `head` is what goes on to a server without TLS."""

    host: str
    port: int
    tls: bool
    head: bytes = b""


def parse(head: bytes) -> Asked:
    """Reads a request up to its empty line, strictly: what is not understood is refused."""
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    first = lines[0].decode("latin-1")
    names: list[tuple[bytes, bytes]] = []
    for line in lines[1:]:
        match = _HEADER.fullmatch(line)
        if not match:
            raise Denied("a header line is malformed")
        names.append((match[1].lower(), line))
    if match := _CONNECT.fullmatch(first):
        return Asked(host=match[1].lower(), port=int(match[2]), tls=True)
    if match := _PLAIN.fullmatch(first):
        host, port, path = match[2].lower(), int(match[3] or 80), match[4] or "/"
        kept = [line for name, line in names if name not in _OWN_HEADERS]
        request = [
            f"{match[1]} {path} HTTP/1.1".encode(),
            f"Host: {host}:{port}".encode() if port != 80 else f"Host: {host}".encode(),
            b"Connection: close",
            *kept,
        ]
        return Asked(host=host, port=port, tls=False, head=b"\r\n".join(request) + b"\r\n\r\n")
    raise Denied("only CONNECT, and GET or HEAD of a plain http address, are understood")


def permit(asked: Asked, endpoints: Sequence[Endpoint]) -> Endpoint:
    """The entry of the list that the request falls under."""
    for endpoint in endpoints:
        if (endpoint.port, endpoint.tls) != (asked.port, asked.tls):
            continue
        if not endpoint.host.startswith("."):
            if asked.host == endpoint.host:
                return endpoint
            continue
        plain_name = _NAME.fullmatch(asked.host) and not is_literal(asked.host)
        if plain_name and asked.host.endswith(endpoint.host):
            return endpoint
    raise Denied("the host is not one that this machine's package managers are configured for")


def is_literal(host: str) -> bool:
    """An address instead of a name, in any notation that a resolver takes for one."""
    return host.startswith("[") or host.rpartition(".")[2][:1].isdigit()


def admit(address: str, scope: Scope) -> None:
    """Refuses an address that a name of this scope must not lead to."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    for one in (ip, *_embedded(ip)):
        if one.is_multicast or one.is_unspecified:
            raise Denied("the name leads to an address that is nobody's")
        if scope is Scope.NETWORK and (one.is_loopback or one.is_link_local):
            raise Denied("the name leads back to this machine")
        if scope is Scope.PUBLIC and not one.is_global:
            raise Denied("the name leads to an address that is not public")


def _embedded(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> list[ipaddress.IPv4Address]:
    """IPv4 addresses that an IPv6 one stands for."""
    if isinstance(ip, ipaddress.IPv4Address):
        return []
    found = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
    if ip in _NAT64:
        found.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    return [one for one in found if one is not None]


def server_name(hello: bytes) -> str | None:
    """The name that a TLS client asks for: "" for none, None while more bytes are needed."""
    if len(hello) < 5:
        return None
    if hello[:2] != b"\x16\x03":
        raise Denied("the tunnel does not begin with TLS")
    size = int.from_bytes(hello[3:5], "big")
    if len(hello) < 5 + size:
        return None
    try:
        return _name_in(_Reader(hello[5 : 5 + size]))
    except (IndexError, UnicodeDecodeError) as error:
        raise Denied("the TLS greeting is malformed") from error


def _name_in(record: _Reader) -> str:
    if record.number(1) != 1:
        raise Denied("the tunnel does not begin with a TLS greeting")
    body = _Reader(record.take(record.number(3)))
    body.take(2 + 32)  # version, random
    for width in (1, 2, 1):  # session, ciphers, compressions
        body.take(body.number(width))
    if not body.left:
        return ""
    extensions = _Reader(body.take(body.number(2)))
    names: list[str] = []
    while extensions.left:
        kind, data = extensions.number(2), _Reader(extensions.take(extensions.number(2)))
        if kind == 0xFE0D:
            raise Denied("the TLS greeting hides the name")
        if kind == 0:
            entries = _Reader(data.take(data.number(2)))
            while entries.left:
                if entries.number(1) != 0:
                    raise Denied("the TLS greeting names something else than a host")
                names.append(entries.take(entries.number(2)).decode("ascii").lower())
    if len(names) > 1:
        raise Denied("the TLS greeting has more than one name")
    return names[0] if names else ""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise IndexError
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")
