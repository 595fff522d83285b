"""Keeps each thread in step with its run: what stands there is computed from the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakValueDictionary

from agent.errors import Broken, Unavailable
from agent.guard import guarded
from agent.ports import Clock, Store
from agent.rounds import Round
from agent.run import ACTIVE, PARKED, RunId, Thread
from agent.state import RunState, fold, step
from bot.page import Page, Slot
from bot.slack import Slack
from bot.slack_api import TIMEOUT, SlackRejected
from bot.views.words import Links

log = logging.getLogger("journeyman.presenter")

#: What Slack says of a thread that the bot cannot write to any more.
_LOST = frozenset({"channel_not_found", "is_archived", "not_in_channel", "thread_not_found"})
_AGAIN = 5.0  # seconds until the next attempt while Slack or the database is away
#: Seconds after which what whoever wrote before has sent is there, and looked over.
LATE = TIMEOUT + 5.0
_AT_WORK = ACTIVE - PARKED  # whose logs grow all the time


class Hold(Protocol):
    """That nobody else writes to threads."""

    @property
    def lost(self) -> asyncio.Event: ...
    def sure(self) -> bool: ...


class Threads(Protocol):
    def alone(self) -> AbstractAsyncContextManager[Hold]: ...
    async def slots(self, run: RunId) -> Mapping[str, Slot]: ...
    async def intend(
        self, run: RunId, slot: str, *, channel: str, version: int, fingerprint: str
    ) -> Slot | None: ...
    async def posted(self, run: RunId, slot: str, *, ts: str, version: int) -> None: ...
    async def under_way(self) -> Mapping[RunId, frozenset[str]]: ...
    async def shown(self, run: RunId, *, channel: str, version: int) -> None: ...


@dataclass(kw_only=True)
class Presenter:
    store: Store
    threads: Threads
    slack: Slack
    clock: Clock
    links: Links = field(default_factory=Links)
    every: float = 3.0  #: seconds between two edits of a card
    #: Compares threads with what is stored of them; None: nobody does.
    round: Callable[[Presenter], Round] | None = None
    #: Held while the sign of a thread's first message is changed, which its runs share.
    marking: WeakValueDictionary[Thread, asyncio.Lock] = field(
        default_factory=lambda: WeakValueDictionary[Thread, asyncio.Lock]()
    )
    _renewed: dict[RunId, frozenset[str]] = field(default_factory=dict["RunId", "frozenset[str]"])
    _following: dict[RunId, _Following] = field(default_factory=dict["RunId", "_Following"])
    _hold: Hold | None = None

    async def serve(self) -> None:
        """Until cancelled. Of several processes one writes, since a message is posted by one
        before it can be found by another."""
        while True:
            try:
                async with self.threads.alone() as self._hold:
                    late = await self.threads.under_way()
                    await self._write_until(self._hold.lost, late)
                log.warning("threads_lost")
            except Unavailable as error:
                log.warning("threads_wait", extra={"reason": str(error)})
                await self.clock.sleep(_AGAIN)

    def sure(self) -> None:
        """Right before something is sent. Raises `Unavailable` where another process may write
        by now: this one may have been stopped for a while, and know nothing of it."""
        if self._hold is None or not self._hold.sure():
            raise Unavailable("Another process writes to the threads by now.")

    def renew(self, run: RunId, slots: frozenset[str]) -> None:
        """Shows these anew, as far as they still belong in the thread."""
        self._renewed[run] = self._renewed.get(run, frozenset()) | slots
        self._wake(run)

    async def _write_until(self, lost: asyncio.Event, late: Mapping[RunId, frozenset[str]]) -> None:
        writing = asyncio.create_task(self._write())
        losing = asyncio.create_task(lost.wait())
        beside = {asyncio.create_task(each) for each in (self._compare(), self._overwrite(late))}
        try:
            await asyncio.wait({writing, losing}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
        finally:
            for task in (*beside, writing, losing):
                task.cancel()
            await asyncio.wait({*beside, writing, losing})

    async def _overwrite(self, late: Mapping[RunId, frozenset[str]]) -> None:
        """What another process had sent when it was replaced may come after what is newer."""
        if late:
            await self.clock.sleep(LATE)
        for run, slots in late.items():
            self.renew(run, slots)

    async def _compare(self) -> None:
        if self.round is not None:
            await self.round(self).serve()

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
        following = self._following.pop(run)
        if task.cancelled():
            return
        if error := task.exception():
            log.error("thread_lost", extra={"run": run}, exc_info=error)
        elif following.changed.is_set():  # in the very moment in which it was let go
            self._wake(run)

    async def _follow(self, run: RunId, changed: asyncio.Event) -> None:
        """Until the run rests: it may do so for days, and nothing of it is kept here meanwhile."""
        page: Page | None = None
        broken = 0
        while True:
            changed.clear()
            rests: RunState | None = None
            try:
                with guarded(log, "thread_broke", run=run):
                    page = page or Page(presenter=self, slots=dict(await self.threads.slots(run)))
                    renewed = self._renewed.get(run, frozenset())
                    page.forget(renewed)
                    state = await self._state(run, page.state)
                    if not state.request.thread.channel:  # a night's: the digest tells of it
                        return await self._rest(state)
                    wait = await page.show(state)
                if self._renewed.get(run) is renewed:  # else more has been found meanwhile
                    del self._renewed[run]
                if wait is None and state.status not in _AT_WORK:
                    rests, wait = state, self.every
            except Unavailable as error:
                log.warning("thread_waits", extra={"run": run, "reason": str(error)})
                page, wait = None, _AGAIN
            except Broken:  # a defect of ours may be one of a moment
                page, wait = None, _AGAIN * 2 ** min(broken, 6)
                broken += 1
            except SlackRejected as error:
                log.warning("thread_refused", extra={"run": run, "code": error.code})
                if page is not None and error.code in _LOST:
                    await page.stranded()
                self._renewed.pop(run, None)  # it would be refused as often as the run is shown
                return
            try:
                async with asyncio.timeout(wait):
                    await changed.wait()
            except TimeoutError:
                if rests:
                    return await self._rest(rests)

    async def _rest(self, state: RunState) -> None:
        channel = state.request.thread.channel
        try:
            await self.threads.shown(state.run, channel=channel, version=state.seq)
        except Unavailable as error:  # it is looked at once more than it had to be
            log.warning("thread_unmarked", extra={"run": state.run, "reason": str(error)})

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
