"""Keeps each thread in step with its run: what stands there is computed from the log."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol

from agent.errors import Unavailable
from agent.ports import Clock, Store
from agent.run import ENDED, WAITING, RunId
from agent.state import RunState, fold, step
from bot.slack import DECISION, PROGRESS, Slack
from bot.slack_api import SlackRejected
from bot.views import thread as view
from bot.views.blocks import Message
from bot.views.outcome import stranded
from bot.views.words import Links, request_title

log = logging.getLogger("journeyman.presenter")

_GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
#: What Slack says of a thread that the bot cannot write to any more.
_LOST = frozenset({"channel_not_found", "is_archived", "not_in_channel", "thread_not_found"})
_POSTED = "posted"
_AGAIN = 5.0  # seconds until the next attempt while Slack or the database is away


class Slot(Protocol):
    """A message that stands in a thread, or was about to be posted."""

    @property
    def ts(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def state(self) -> str: ...


class Threads(Protocol):
    def alone(self) -> AbstractAsyncContextManager[asyncio.Event]: ...
    async def slots(self, run: RunId) -> Mapping[str, Slot]: ...
    async def intend(
        self, run: RunId, slot: str, *, channel: str, version: int, fingerprint: str
    ) -> Slot | None: ...
    async def posted(self, run: RunId, slot: str, *, ts: str, version: int) -> None: ...


@dataclass(kw_only=True)
class Presenter:
    store: Store
    threads: Threads
    slack: Slack
    clock: Clock
    links: Links = field(default_factory=Links)
    every: float = 3.0  #: seconds between two edits of a card
    _following: dict[RunId, _Following] = field(default_factory=dict["RunId", "_Following"])

    async def serve(self) -> None:
        """Until cancelled. Of several processes one writes, since a message is posted by one
        before it can be found by another."""
        while True:
            try:
                async with self.threads.alone() as lost:
                    await self._write_until(lost)
                log.warning("threads_lost")
            except Unavailable as error:
                log.warning("threads_wait", extra={"reason": str(error)})
                await self.clock.sleep(_AGAIN)

    async def _write_until(self, lost: asyncio.Event) -> None:
        writing = asyncio.create_task(self._write())
        losing = asyncio.create_task(lost.wait())
        try:
            await asyncio.wait({writing, losing}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
        finally:
            writing.cancel()
            losing.cancel()
            await asyncio.wait({writing, losing})

    async def _write(self) -> None:
        try:
            while True:
                try:
                    async with self.store.changes() as changes:
                        async for run in changes:
                            self._wake(run)
                except Unavailable as error:
                    log.warning("changes_lost", extra={"reason": str(error)})
                    await self.clock.sleep(_AGAIN)
        finally:
            for following in tuple(self._following.values()):
                following.task.cancel()
            await asyncio.gather(
                *(following.task for following in self._following.values()),
                return_exceptions=True,
            )

    def _wake(self, run: RunId) -> None:
        known = self._following.get(run)
        if known:
            known.changed.set()
            return
        changed = asyncio.Event()
        task = asyncio.create_task(self._follow(run, changed), name=f"thread of run {run}")
        self._following[run] = _Following(task=task, changed=changed)
        task.add_done_callback(lambda done: self._forget(run, done))

    def _forget(self, run: RunId, task: asyncio.Task[None]) -> None:
        self._following.pop(run, None)
        if not task.cancelled() and (error := task.exception()):
            log.error("thread_lost", extra={"run": run}, exc_info=error)

    async def _follow(self, run: RunId, changed: asyncio.Event) -> None:
        page: _Page | None = None
        while True:
            changed.clear()
            try:
                page = page or _Page(presenter=self, slots=dict(await self.threads.slots(run)))
                state = await self._state(run, page.state)
                if not state.request.thread.channel:  # a night's: the digest tells of it
                    return
                wait = await page.show(state)
            except Unavailable as error:
                log.warning("thread_waits", extra={"run": run, "reason": str(error)})
                page, wait = None, _AGAIN
            except SlackRejected as error:
                log.warning("thread_refused", extra={"run": run, "code": error.code})
                if page is not None and error.code in _LOST:
                    await page.stranded()
                return
            if page and page.finished and wait is None and not changed.is_set():
                return
            try:
                async with asyncio.timeout(wait):
                    await changed.wait()
            except TimeoutError:
                pass

    async def _state(self, run: RunId, known: RunState | None) -> RunState:
        events = await self.store.events(run, after=known.seq if known else 0)
        if known is None:
            return fold(events)
        for event in events:
            known = step(known, event)
        return known


@dataclass(kw_only=True)
class _Following:
    task: asyncio.Task[None]
    changed: asyncio.Event


@dataclass(kw_only=True)
class _Page:
    """One thread as it stands in Slack."""

    presenter: Presenter
    slots: dict[str, Slot]
    state: RunState | None = None
    _edited_at: float = float("-inf")

    @property
    def finished(self) -> bool:
        return self.state is not None and self.state.status in ENDED

    async def show(self, state: RunState) -> float | None:
        """Brings the thread in step; the seconds until the card may be edited, if it waits."""
        self.state = state
        messages = view.messages(state, self.presenter.links)
        card = messages.pop(view.CARD)
        known = self.slots.get(view.CARD)
        if known is None or not known.ts:
            await self._put(view.CARD, card)
            self._edited_at = self.presenter.clock.monotonic()
        for slot, message in messages.items():
            await self._put(slot, message)
        await self._decorate(state)
        wait = self._edited_at + self.presenter.every - self.presenter.clock.monotonic()
        if self._stands(view.CARD, _fingerprint(card)):
            return None
        if wait > 0:
            return wait
        self._edited_at = self.presenter.clock.monotonic()
        await self._put(view.CARD, card)
        return None

    async def stranded(self) -> None:
        """Whoever asked is told where a run waits that nobody can see, once for each wait."""
        state, slack = self._now, self.presenter.slack
        if state.status not in WAITING:
            return
        asker = replace(state.request.thread, channel=state.request.requester.id, ts="")

        async def send(_: str) -> str:
            return await slack.post(asker, stranded(state))

        wait = state.gate.seq if state.gate else max(state.question_seq, state.held_seq)
        try:
            await self._once("stranded", str(wait), send)
        except (SlackRejected, Unavailable) as error:
            log.warning("stranded_untold", extra={"run": state.run, "reason": str(error)})

    async def _put(self, slot: str, message: Message) -> None:
        async def send(ts: str) -> str:
            return await self._send(slot, message, ts)

        await self._once(slot, _fingerprint(message), send)

    async def _send(self, slot: str, message: Message, ts: str) -> str:
        state, slack = self._now, self.presenter.slack
        thread, mark = state.request.thread, (state.run, slot)
        if not ts and slot in self.slots:  # it was about to be posted when something broke
            ts = await slack.find(thread, mark) or ""
        if ts:
            try:
                await slack.edit(thread.channel, ts, message, mark=mark)
                return ts
            except SlackRejected as error:
                if error.code not in _GONE:
                    raise
        priority = PROGRESS if slot == view.CARD else DECISION
        return await slack.post(thread, message, mark=mark, priority=priority)

    async def _decorate(self, state: RunState) -> None:
        thread, slack = state.request.thread, self.presenter.slack
        await self._react("reaction", thread.ts, view.reaction(state))
        for followup in state.followups:
            if re.fullmatch(r"\d+\.\d+", followup.given.message):
                taken = followup.taken_at_step is not None
                name = "white_check_mark" if taken else "eyes"
                await self._react(f"reaction:{followup.seq}", followup.given.message, name)
        session = view.session(state.status)

        async def set_session(_: str) -> str:
            await slack.set_session(thread, session, request_title(state))
            return thread.ts

        await self._once("session", session, set_session)

    async def _react(self, slot: str, ts: str, name: str) -> None:
        slack, channel = self.presenter.slack, self._now.request.thread.channel
        known = self.slots.get(slot)
        before = known.fingerprint if known else "eyes"  # the listener's first sign of life

        async def react(_: str) -> str:
            if before != name:
                await slack.unreact(channel, ts, before)
            await slack.react(channel, ts, name)
            return ts

        await self._once(slot, name, react)

    async def _once(
        self, slot: str, fingerprint: str, act: Callable[[str], Awaitable[str]]
    ) -> None:
        """Stores the intent, acts, stores the outcome; nothing when it stands there already."""
        if self._stands(slot, fingerprint):
            return
        state, threads = self._now, self.presenter.threads
        intent = await threads.intend(
            state.run,
            slot,
            channel=state.request.thread.channel,
            version=state.seq,
            fingerprint=fingerprint,
        )
        if intent is None:  # another process shows a newer state already
            self.slots = dict(await threads.slots(state.run))
            return
        ts = await act(intent.ts)
        await threads.posted(state.run, slot, ts=ts, version=state.seq)
        self.slots[slot] = _Standing(ts=ts, fingerprint=fingerprint)

    def _stands(self, slot: str, fingerprint: str) -> bool:
        known = self.slots.get(slot)
        return bool(known and known.state == _POSTED and known.fingerprint == fingerprint)

    @property
    def _now(self) -> RunState:
        if self.state is None:
            raise RuntimeError("nothing to show yet")
        return self.state


@dataclass(frozen=True, kw_only=True)
class _Standing:
    ts: str
    fingerprint: str
    state: str = _POSTED


def _fingerprint(message: Message) -> str:
    return hashlib.sha256(message.rendering.encode()).hexdigest()[:32]
