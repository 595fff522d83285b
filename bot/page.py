"""One thread as it stands in Slack, brought in step message by message."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Container, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from agent import failpoints
from agent.errors import StoreUnavailable, Unavailable
from agent.run import WAITING
from agent.state import RunState
from bot.slack import DECISION, PROGRESS
from bot.slack_api import SlackRejected, SlackUnavailable
from bot.views import thread as view
from bot.views.blocks import Message
from bot.views.outcome import stranded
from bot.views.words import request_title

if TYPE_CHECKING:
    from bot.presenter import Presenter

log = logging.getLogger("journeyman.presenter")

_GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
_POSTED = "posted"
_INTENDED = "intended"
_NO_MESSAGES = frozenset({"reaction", "session", "stranded"})


class Slot(Protocol):
    """A message that stands in a thread, or was about to be posted."""

    @property
    def ts(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def state(self) -> str: ...


@dataclass(kw_only=True)
class Page:
    presenter: Presenter
    slots: dict[str, Slot]
    state: RunState | None = None
    _edited_at: float = float("-inf")

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
        await self._settle(messages)
        await self._decorate(state)
        wait = self._edited_at + self.presenter.every - self.presenter.clock.monotonic()
        if self._stands(view.CARD, _fingerprint(card)):
            return None
        if wait > 0:
            return wait
        self._edited_at = self.presenter.clock.monotonic()
        await self._put(view.CARD, card)
        return None

    async def _settle(self, messages: Container[str]) -> None:
        """What was about to be sent when the run went on, and is said no more: it stands there as
        it is, or never will."""
        state, presenter = self._now, self.presenter
        for slot, known in tuple(self.slots.items()):
            said = slot == view.CARD or slot in messages or slot.partition(":")[0] in _NO_MESSAGES
            if said or known.state != _INTENDED:
                continue
            ts = await presenter.slack.find(state.request.thread, (state.run, slot)) or ""
            await presenter.threads.posted(state.run, slot, ts=ts, version=known.version)
            self.slots[slot] = _Standing(ts=ts, fingerprint=known.fingerprint)

    def forget(self, names: Iterable[str]) -> None:
        """These do not stand as they should: they are looked for, and posted where they are not
        found."""
        for name in names:
            self.slots[name] = _Standing(ts="", fingerprint="", state="")

    async def stranded(self) -> None:
        """Whoever asked is told where a run waits that nobody can see, once for each wait."""
        state, slack = self._now, self.presenter.slack
        if state.status not in WAITING:
            return
        asker = replace(state.request.thread, channel=state.request.requester.id, ts="")

        async def send(_: str) -> str:
            return await slack.post(asker, stranded(state), sure=self.presenter.sure)

        wait = state.gate.seq if state.gate else max(state.question_seq, state.held_seq)
        try:
            await self._once("stranded", str(wait), send)
        except (SlackRejected, Unavailable) as error:
            log.warning("stranded_untold", extra={"run": state.run, "reason": str(error)})

    async def _put(self, slot: str, message: Message) -> None:
        async def send(ts: str) -> str:
            return await self._send(slot, message, ts)

        known = self.slots.get(slot)
        effect = "edit" if known and known.ts else "post"
        await self._once(slot, _fingerprint(message), send, effect)

    async def _send(self, slot: str, message: Message, ts: str) -> str:
        state, slack, sure = self._now, self.presenter.slack, self.presenter.sure
        thread, mark = state.request.thread, (state.run, slot)
        if not ts and slot in self.slots:  # it was about to be posted when something broke
            ts = await slack.find(thread, mark) or ""
        tried = ""
        while ts and ts != tried:
            try:
                await slack.edit(thread.channel, ts, message, mark=mark, sure=sure)
                return ts
            except SlackRejected as error:
                if error.code not in _GONE:
                    raise
            tried, ts = ts, await slack.find(thread, mark) or ""  # it may stand there once more
        priority = PROGRESS if slot == view.CARD else DECISION
        return await slack.post(thread, message, mark=mark, priority=priority, sure=sure)

    async def _decorate(self, state: RunState) -> None:
        thread, slack = state.request.thread, self.presenter.slack
        await self._mark_root(state)
        for followup in state.followups:
            given = followup.given.message
            if given != thread.ts and re.fullmatch(r"\d+\.\d+", given):  # that one has the run's
                taken = followup.taken_at_step is not None
                name = "white_check_mark" if taken else "eyes"
                await self._react(f"reaction:{followup.seq}", given, name)
        session = view.session(state.status)

        async def set_session(_: str) -> str:
            await slack.set_session(thread, session, request_title(state))
            return thread.ts

        await self._once("session", session, set_session)

    async def _mark_root(self, state: RunState) -> None:
        """The sign is that of the newest run in the thread."""
        name, root, presenter = view.reaction(state), state.request.thread, self.presenter
        if self._stands("reaction", name):
            return
        async with presenter.marking.setdefault(root, asyncio.Lock()):
            (newest, *_) = await presenter.store.runs_of_thread(root, limit=1)
            if newest.id == state.run:
                await self._react("reaction", root.ts, name)

    async def _react(self, slot: str, ts: str, name: str) -> None:
        slack, request = self.presenter.slack, self._now.request
        channel, known = request.thread.channel, self.slots.get(slot)
        before = {known.fingerprint if known else "eyes"}  # the listener's first sign of life
        if slot == "reaction" and not known and ts != request.message:
            before = view.SIGNS  # those of an earlier run
        if known and known.state != _POSTED:  # it was about to change when something broke
            before = view.SIGNS

        async def react(_: str) -> str:
            for each in sorted(before - {name}):
                await slack.unreact(channel, ts, each)
            await slack.react(channel, ts, name)
            return ts

        await self._once(slot, name, react)

    async def _once(
        self,
        slot: str,
        fingerprint: str,
        act: Callable[[str], Awaitable[str]],
        effect: str = "decorate",
    ) -> None:
        """Stores the intent, acts, stores the outcome; nothing when it stands there already."""
        if self._stands(slot, fingerprint):
            return
        state, threads = self._now, self.presenter.threads
        failpoints.reached(effect, "before_intent", StoreUnavailable)
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
        failpoints.reached(effect, "before_call", SlackUnavailable)
        self.presenter.sure()
        ts = await act(intent.ts)
        failpoints.reached(effect, "after_call", SlackUnavailable)
        await threads.posted(state.run, slot, ts=ts, version=state.seq)
        failpoints.reached(effect, "after_outcome", StoreUnavailable)
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
    version: int = 0


def _fingerprint(message: Message) -> str:
    return hashlib.sha256(message.rendering.encode()).hexdigest()[:32]
