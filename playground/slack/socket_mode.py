"""Socket Mode: an app's connections, the envelopes on them and their acknowledgements."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

Json = dict[str, Any]
CONNECTIONS = 10


class NotAcknowledged(Exception):
    """The app did not take a delivery; `reason` is Slack's word for why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(kw_only=True)
class Connection:
    socket: web.WebSocketResponse
    #: envelopes that wait for their acknowledgement
    waiting: dict[str, asyncio.Future[Json]] = field(
        default_factory=dict[str, asyncio.Future[Json]]
    )
    leaving: bool = False  #: told to reconnect: gets no new envelope


@dataclass(kw_only=True)
class SocketMode:
    app_id: str
    timeout: float = 3.0
    connections: list[Connection] = field(default_factory=list[Connection])
    tickets: set[str] = field(default_factory=set[str])
    _turn: itertools.count[int] = field(default_factory=itertools.count)
    _connected: asyncio.Event = field(default_factory=asyncio.Event)

    def open_ticket(self) -> str:
        """A name for one connection, good once."""
        ticket = secrets.token_hex(12)
        self.tickets.add(ticket)
        return ticket

    async def serve(self, request: web.Request) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        if ticket not in self.tickets:
            return web.Response(status=401, text="the ticket was used or never given")
        self.tickets.discard(ticket)
        socket = web.WebSocketResponse(timeout=1.0)
        await socket.prepare(request)
        if len(self.connections) >= CONNECTIONS:
            await socket.send_json({"type": "disconnect", "reason": "too_many_websockets"})
            await socket.close()
            return socket
        connection = Connection(socket=socket)
        self.connections.append(connection)
        try:
            await socket.send_json(self._hello())
            self._connected.set()
            async for frame in socket:
                if frame.type is WSMsgType.TEXT:
                    _take_acknowledgement(connection, frame.data)
        finally:
            self.connections.remove(connection)
            if not self.connections:
                self._connected.clear()
            for waiter in connection.waiting.values():
                if not waiter.done():
                    waiter.set_exception(NotAcknowledged("connection_failed"))
        return socket

    def _hello(self) -> Json:
        return {
            "type": "hello",
            "num_connections": len(self.connections),
            "connection_info": {"app_id": self.app_id},
            "debug_info": {
                "host": "applink-playground",
                "build_number": 1,
                "approximate_connection_time": 18060,
            },
        }

    async def connected(self) -> None:
        """Wait until the app has a connection."""
        await self._connected.wait()

    async def send(self, kind: str, payload: Json, *, attempt: int, reason: str) -> Json:
        """Send an envelope on one connection; its acknowledgement, which may carry a payload."""
        open_ones = [each for each in self.connections if not each.leaving]
        if not open_ones:
            raise NotAcknowledged("connection_failed")
        connection = open_ones[next(self._turn) % len(open_ones)]
        envelope: Json = {
            "envelope_id": secrets.token_hex(16),
            "type": kind,
            "payload": payload,
            "accepts_response_payload": kind == "interactive",
        }
        if kind == "events_api":
            envelope |= {"retry_attempt": attempt, "retry_reason": reason}
        waiter: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        connection.waiting[envelope["envelope_id"]] = waiter
        try:
            await connection.socket.send_json(envelope)
            async with asyncio.timeout(self.timeout):
                return await waiter
        except TimeoutError:
            raise NotAcknowledged("timeout") from None
        except ConnectionError:
            raise NotAcknowledged("connection_failed") from None
        finally:
            waiter.cancel()
            del connection.waiting[envelope["envelope_id"]]

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Ask the app to reconnect: `warning` announces it, `refresh_requested` is now."""
        for connection in tuple(self.connections):
            await connection.socket.send_json(
                {
                    "type": "disconnect",
                    "reason": reason,
                    "debug_info": {"host": "applink-playground"},
                }
            )
            if reason != "warning":
                connection.leaving = True

    async def cut(self) -> None:
        """Drop every connection without a word."""
        for connection in tuple(self.connections):
            await connection.socket.close()


def _take_acknowledgement(connection: Connection, text: str) -> None:
    try:
        said = json.loads(text)
    except ValueError:
        return
    waiter = connection.waiting.get(said.get("envelope_id", "")) if isinstance(said, dict) else None
    if waiter is not None and not waiter.done():
        waiter.set_result(said.get("payload") or {})
