"""Deliveries to the hooks of a project, signed both ways, and given up as GitLab gives up."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import aiohttp

from playground.gitlab.records import Hook, Project
from playground.gitlab.views import when

if TYPE_CHECKING:
    from playground.gitlab.forge import Forge

TIMEOUT = 10.0
FAILURES_BEFORE_PAUSE = 4
FAILURES_BEFORE_END = 40
LONGEST_PAUSE = timedelta(hours=24)

EVENTS = {
    "push_events": "Push Hook",
    "tag_push_events": "Tag Push Hook",
    "merge_requests_events": "Merge Request Hook",
    "issues_events": "Issue Hook",
    "note_events": "Note Hook",
    "pipeline_events": "Pipeline Hook",
    "job_events": "Job Hook",
    "deployment_events": "Deployment Hook",
}


class Webhooks:
    def __init__(self, forge: Forge) -> None:
        self.forge = forge
        #: how often a delivery goes out, asked by the event's name ("Push Hook")
        self.copies: Callable[[str], int] = lambda event: 1
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._queues: dict[int, asyncio.Lock] = {}

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session:
            await self._session.close()

    async def idle(self) -> None:
        """Returns when every delivery that was under way has ended."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def fire(
        self, project: Project, kind: str, payload: dict[str, Any], *, branch: str = ""
    ) -> None:
        for hook in project.hooks.values():
            wanted = hook.options.get("push_events_branch_filter") or ""
            matches = not (branch and wanted) or fnmatchcase(branch, wanted)
            if hook.events.get(kind) and matches and not self._paused(hook):
                key = str(uuid.uuid4())
                for _ in range(self.copies(EVENTS[kind])):
                    self._start(self.deliver(hook, kind, payload, key=key))

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _paused(self, hook: Hook) -> bool:
        until = hook.disabled_until
        return hook.disabled or bool(until and until > self.forge.state.now())

    async def deliver(
        self, hook: Hook, kind: str, payload: dict[str, Any], *, key: str = ""
    ) -> int:
        """One delivery; the status that came back, 0 when none did."""
        body = json.dumps(payload).encode()
        key = key or str(uuid.uuid4())
        headers = self._headers(hook, kind, key, body)
        async with self._queues.setdefault(hook.id, asyncio.Lock()):
            status, answer = await self._post(hook, body, headers)
        self._judge(hook, 200 <= status < 300)
        entry = {
            "id": self.forge.state.next_id("hook_event"),
            "url": hook.url,
            "trigger": kind,
            "request_headers": {k: v for k, v in headers.items() if k != "X-Gitlab-Token"},
            "request_data": payload,
            "response_headers": {},
            "response_body": answer[:2000],
            "execution_duration": 0.0,
            "response_status": str(status or "internal error"),
            "created_at": when(self.forge.state.now()),
        }
        hook.log = [*hook.log[-99:], entry]
        return status

    async def _post(self, hook: Hook, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        assert self._session is not None
        try:
            async with self._session.post(hook.url, data=body, headers=headers) as response:
                text = await response.content.read(4096)
                return response.status, text.decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError) as problem:
            return 0, str(problem)

    def _headers(self, hook: Hook, kind: str, key: str, body: bytes) -> dict[str, str]:
        moment = str(int(self.forge.state.now().timestamp()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "GitLab/19.1.0",
            "Idempotency-Key": key,
            "X-Gitlab-Event": EVENTS[kind],
            "X-Gitlab-Event-UUID": str(uuid.uuid4()),
            "X-Gitlab-Webhook-UUID": str(uuid.uuid5(uuid.NAMESPACE_URL, hook.url)),
            "X-Gitlab-Instance": self.forge.url,
            "webhook-id": key,
            "webhook-timestamp": moment,
        }
        if hook.token:
            headers["X-Gitlab-Token"] = hook.token
        if hook.signing_token:
            headers["webhook-signature"] = sign(hook.signing_token, key, moment, body)
        return headers

    def _judge(self, hook: Hook, good: bool) -> None:
        if good:
            hook.failures = 0
            hook.disabled_until = None
            return
        hook.failures += 1
        if hook.failures >= FAILURES_BEFORE_END:
            hook.disabled = True
        elif hook.failures >= FAILURES_BEFORE_PAUSE:
            pause = timedelta(minutes=1) * 2 ** (hook.failures - FAILURES_BEFORE_PAUSE)
            hook.disabled_until = self.forge.state.now() + min(pause, LONGEST_PAUSE)


def sign(token: str, key: str, moment: str, body: bytes) -> str:
    """As Standard Webhooks do; a `whsec_` token carries its key in base64."""
    secret = (
        base64.b64decode(token.removeprefix("whsec_"))
        if token.startswith("whsec_")
        else token.encode()
    )
    signed = f"{key}.{moment}.".encode() + body
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()
