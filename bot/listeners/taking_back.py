"""What people have asked for and take back before it has begun: it waits, or is just beginning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.errors import Refused
from agent.run import Thread
from bot import command
from bot.command import Verb
from bot.inbox import SOURCE, Delivery, key_of
from bot.listeners.desk import where
from bot.records import Json, first, record
from bot.slack import Identity, Slack

BEGINS = {Verb.START, Verb.NEW, Verb.RETRY}


class Kept(Protocol):
    """Deliveries that nobody has finished. Raises `StoreUnavailable`."""

    async def unfinished(self, source: str, naming: str) -> Sequence[Delivery]: ...
    async def take_back(self, ids: Sequence[int]) -> Sequence[int]: ...
    async def taken_back(self, source: str, key: str) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class TakingBack:
    kept: Kept
    identity: Identity
    slack: Slack

    async def said(self, thread: Thread, user: str, ts: str) -> bool:
        """What this person has asked for in the thread before that; False: nothing waits."""

        def before(body: Json) -> bool:
            at, when = where(body), _when(body)
            here = (at.channel, at.thread_ts or at.ts) == (thread.channel, thread.ts)
            return here and bool(when) and when < ts and (self._begins(body) or _picks(body))

        return await self._take(user, before)

    async def picked(self, channel: str, user: str, asked: str) -> bool:
        """The project that this person has chosen for a message."""

        def chosen(body: Json) -> bool:
            block = str(first(body.get("actions")).get("block_id"))
            return _picks(body) and where(body).channel == channel and asked in block.split(":")

        return await self._take(user, chosen)

    async def done(self, body: Json) -> bool:
        """Whether its sender has taken it back by now."""
        key = key_of(body, self.identity)
        return key is not None and await self.kept.taken_back(SOURCE, key)

    async def _take(self, user: str, meant: Callable[[Json], bool]) -> bool:
        waiting = {
            each.id: record(each.payload)
            for each in await self.kept.unfinished(SOURCE, user)
            if where(record(each.payload)).user == user and meant(record(each.payload))
        }
        taken = await self.kept.take_back(tuple(waiting)) if waiting else ()
        for each in taken:
            at = where(waiting[each])
            if "event" in waiting[each]:
                await self.slack.unreact(at.channel, at.ts, "eyes")
        return bool(taken)

    def _begins(self, body: Json) -> bool:
        event = record(body.get("event"))
        if event.get("type") not in ("app_mention", "message"):
            return False
        try:
            return command.parse(str(event.get("text", "")), self.identity.user).verb in BEGINS
        except Refused:  # nothing begins with it
            return False


def _picks(body: Json) -> bool:
    return first(body.get("actions")).get("action_id") == "pick_project"


def _when(body: Json) -> str:
    said = record(body.get("event")).get("ts")
    return str(said or first(body.get("actions")).get("action_ts") or "")
