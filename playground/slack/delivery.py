"""How events and clicks reach the app: Socket Mode or signed HTTP, with Slack's retries."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp

from playground.faults import FaultMode, Faults
from playground.ledger import Ledger
from playground.slack.events import envelope, reaches_app
from playground.slack.socket_mode import NotAcknowledged, SocketMode
from playground.slack.world import World

Json = dict[str, Any]
RETRY_AFTER = (0.0, 60.0, 300.0)  #: seconds from a failed delivery of an event to the next one
ANSWER_WITHIN = 3.0


@dataclass(kw_only=True)
class Delivered:
    """One event or click and what became of it."""

    name: str  #: the event's or the interaction's type
    payload: Json
    attempts: int = 0
    acknowledged: bool = False
    answer: Json = field(default_factory=dict[str, Any])  #: that came with the acknowledgement
    reasons: list[str] = field(default_factory=list[str])  #: why attempts failed


@dataclass(kw_only=True)
class Delivery:
    world: World
    faults: Faults
    sockets: SocketMode
    request_url: str = ""  #: signed HTTP goes here; empty means Socket Mode
    speed: float = 1.0  #: how much faster than Slack's the retry schedule runs
    log: Ledger[Delivered] = field(default_factory=Ledger[Delivered])
    _session: aiohttp.ClientSession | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    async def close(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def settled(self) -> None:
        """Wait until every event is acknowledged or given up."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def events(self, events: list[Json]) -> None:
        """Deliver what the app has subscribed to, each in its own time."""
        for event in events:
            if not reaches_app(self.world, event):
                continue
            payload = envelope(self.world, event)
            hit = self.faults.meet(f"event:{event['type']}", FaultMode.DUPLICATE, FaultMode.DELAY)
            late = sum(each.seconds for each in hit if each.mode is FaultMode.DELAY)
            copies = sum(each.mode is FaultMode.DUPLICATE for each in hit)
            for _ in range(1 + copies):
                self._start(self._deliver_event(payload, late))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver_event(self, payload: Json, late: float) -> None:
        record = Delivered(name=payload["event"]["type"], payload=payload)
        self.log.append(record)
        await asyncio.sleep(late)
        for wait in (*RETRY_AFTER, None):
            reason = record.reasons[-1] if record.reasons else ""
            try:
                await self._send("events_api", payload, record.attempts, reason)
                record.acknowledged = True
                return
            except NotAcknowledged as failed:
                record.reasons.append(failed.reason)
            finally:
                record.attempts += 1
            if wait is None or record.reasons[-1] == "no_retry":
                return
            await asyncio.sleep(wait / self.speed)

    async def interaction(self, payload: Json) -> Json:
        """Deliver a click, once: the person sees a warning when it is not acknowledged."""
        record = Delivered(name=payload["type"], payload=payload, attempts=1)
        self.log.append(record)
        for fault in self.faults.meet(f"interactive:{payload['type']}", FaultMode.DELAY):
            await asyncio.sleep(fault.seconds)
        try:
            answer = await self._send("interactive", payload, 0, "")
        except NotAcknowledged as failed:
            record.reasons.append(failed.reason)
            raise
        record.acknowledged, record.answer = True, answer
        return answer

    async def _send(self, kind: str, payload: Json, attempt: int, reason: str) -> Json:
        if not self.request_url:
            return await self.sockets.send(kind, payload, attempt=attempt, reason=reason)
        if kind == "events_api":
            body, content_type = json.dumps(payload), "application/json"
        else:
            body = urlencode({"payload": json.dumps(payload)})
            content_type = "application/x-www-form-urlencoded"
        headers = {"Content-Type": content_type, **self._signature(body)}
        if attempt:
            headers |= {"x-slack-retry-num": str(attempt), "x-slack-retry-reason": reason}
        return await self._post(body, headers)

    def _signature(self, body: str) -> dict[str, str]:
        stamp = str(int(self.world.clock()))
        secret = self.world.app.signing_secret.encode()
        signed = hmac.new(secret, f"v0:{stamp}:{body}".encode(), hashlib.sha256).hexdigest()
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={signed}"}

    async def _post(self, body: str, headers: dict[str, str]) -> Json:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN)
        try:
            async with self._session.post(
                self.request_url, data=body.encode(), headers=headers, timeout=timeout
            ) as response:
                text = await response.text()
        except TimeoutError:
            raise NotAcknowledged("http_timeout") from None
        except aiohttp.ClientError:
            raise NotAcknowledged("connection_failed") from None
        if response.status >= 300:
            kept = response.headers.get("x-slack-no-retry") == "1"
            raise NotAcknowledged("no_retry" if kept else "http_error")
        try:
            answer = json.loads(text)
        except ValueError:
            return {}
        return answer if isinstance(answer, dict) else {}
