"""Which logs of other CI systems may be fetched: URLs below one of a project's prefixes.

A job's URL comes from whoever reported the job, so it is read strictly: what two readers could
understand in two ways is refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

_LONGEST = 2000
_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_PLAIN = re.compile(r"[!-~]+")
_DOTS = re.compile(r"(?:^|/)\.{1,2}(?:[;/]|$)")
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, kw_only=True)
class Place:
    """A URL taken apart. `host` is in lower case, without the brackets of an address."""

    scheme: str
    host: str
    port: int
    path: str
    query: str = ""

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{host}:{self.port}{self.path}{query}"

    @property
    def literal(self) -> bool:
        """The host is an address, or this machine by name."""
        return self.host == "localhost" or _address(self.host) is not None


def place(url: str) -> Place:
    """Raises `ValueError` with what is wrong, as the end of a sentence."""
    if len(url) > _LONGEST or not _PLAIN.fullmatch(url) or "\\" in url:
        raise ValueError("is not a plain URL")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError("is not a URL") from error
    if parts.scheme not in _PORTS:
        raise ValueError("is neither https nor http")
    if "@" in parts.netloc:
        raise ValueError("names a user")
    return Place(
        scheme=parts.scheme,
        host=_host(parts),
        port=_PORTS[parts.scheme] if port is None else port,
        path=_path(parts),
        query=parts.query,
    )


def prefix(url: str) -> Place:
    """One of the settings' prefixes. Raises `ValueError` as `place` does."""
    made = place(url)
    if made.query or "#" in url:
        raise ValueError("is to end with its path")
    address = _address(made.host)
    loopback = made.host == "localhost" or (address is not None and address.is_loopback)
    if made.scheme == "http" and not loopback:
        raise ValueError("is to begin with https://, but for loopback")
    return made


def allowed(wanted: Place, prefixes: Iterable[Place]) -> Place | None:
    """The prefix that the URL is below of: a whole folder, never a part of a name."""
    for each in prefixes:
        same = (each.scheme, each.host, each.port) == (wanted.scheme, wanted.host, wanted.port)
        if same and f"{wanted.path}/".startswith(f"{each.path.rstrip('/')}/"):
            return each
    return None


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").lower()
    if not host or "%" in host or not (_NAME.fullmatch(host) or _address(host)):
        raise ValueError("names no host")
    return host.removesuffix(".")


def _path(parts: SplitResult) -> str:
    """With nothing in it that some server takes for another path."""
    path = parts.path or "/"
    decoded = unquote(path)
    if "%" in decoded or re.search(r"%(2f|5c|00)", path, re.IGNORECASE):
        raise ValueError("hides a part of its path")
    if _DOTS.search(decoded) or "//" in decoded or "\\" in decoded:
        raise ValueError("leaves its own path")
    return path


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
