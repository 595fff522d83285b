"""Connections to PostgreSQL that nobody waits on for ever."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import asyncpg

CONNECTED = 10.0  #: seconds, for a new connection
ANSWER = 30.0  #: seconds, for any one statement
ACQUIRED = 30.0  #: seconds, for one of a pool's connections
#: Seconds of silence after which the other side is asked for a sign of life, between two such
#: questions, and how many may go unanswered; after which what was sent has to have arrived.
_IDLE, _AGAIN, _QUESTIONS, _ARRIVED = 10, 5, 3, 20
#: The same for the server, so that it gives up what a host that is gone has locked.
SETTINGS: Mapping[str, str] = {
    "tcp_keepalives_idle": str(_IDLE),
    "tcp_keepalives_interval": str(_AGAIN),
    "tcp_keepalives_count": str(_QUESTIONS),
    "tcp_user_timeout": f"{_ARRIVED}s",
}


class WatchedConnection(asyncpg.Connection):  # pyright: ignore[reportUntypedBaseClass]
    """Notices that the other side is gone without a word, its host or the network between."""

    def __init__(self, protocol: Any, transport: Any, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)  # pyright: ignore[reportUnknownMemberType]
        opened: socket.socket = transport.get_extra_info("socket")
        if opened.family == socket.AF_UNIX:
            return
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            (socket.TCP_KEEPIDLE, _IDLE),
            (socket.TCP_KEEPINTVL, _AGAIN),
            (socket.TCP_KEEPCNT, _QUESTIONS),
            (socket.TCP_USER_TIMEOUT, _ARRIVED * 1000),
        ):
            opened.setsockopt(socket.IPPROTO_TCP, option, value)


class BoundedPool(asyncpg.Pool):  # pyright: ignore[reportUntypedBaseClass]
    """Who waits for one of its connections, or for a broken one to be given back, gives up."""

    def acquire(self, *, timeout: float | None = None) -> Any:
        return super().acquire(timeout=timeout or ACQUIRED)  # pyright: ignore[reportUnknownMemberType]
