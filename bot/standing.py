"""What stands in threads beside what is stored of it: messages that are gone, and messages that
stand there once more."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from agent.guard import spared
from agent.rounds import Round, Rounds
from agent.run import RunId, Thread
from bot.page import Slot
from bot.presenter import Presenter
from bot.slack import Said
from bot.slack_api import SlackRejected

log = logging.getLogger("journeyman.presenter")

NAME = "reconcile threads"
MOST = 200  #: runs whose threads one round reads
BETWEEN = 1.5  #: seconds between two threads: Slack answers about fifty such questions a minute
_POSTED = "posted"
#: Slots that are no messages of the thread.
_OTHERS = ("reaction", "session", "stranded", "shown")


class Recent(Protocol):
    """Raises `StoreUnavailable`."""

    async def threads(self, most: int) -> Sequence[tuple[RunId, Thread]]:
        """Of runs that changed during the last day or wait for people; the newest change first."""
        ...


class ThreadRounds(Recent, Rounds, Protocol): ...


@dataclass(frozen=True, kw_only=True)
class Difference:
    gone: frozenset[str] = frozenset()  #: slots whose message does not stand there
    unknown: frozenset[str] = frozenset()  #: slots of messages that nothing is stored of
    doubles: tuple[str, ...] = ()  #: messages whose slot has another one, which stands there, too


def difference(run: RunId, slots: Mapping[str, Slot], said: Sequence[Said]) -> Difference:
    """`slots` were read first. What carries the mark of another run is that one's."""
    standing = {each.ts for each in said}
    known = {name: slot for name, slot in slots.items() if not name.startswith(_OTHERS)}
    gone = {n for n, s in known.items() if s.state == _POSTED and s.ts not in standing}
    marked = [(each.mark[1], each.ts) for each in said if each.mark and each.mark[0] == run]
    return Difference(
        gone=frozenset(gone),
        unknown=frozenset(name for name, _ in marked if name not in known),
        doubles=tuple(_doubles(known, marked, standing)),
    )


def _doubles(
    slots: Mapping[str, Slot], marked: Sequence[tuple[str, str]], standing: set[str]
) -> Iterator[str]:
    for name, ts in marked:
        slot = slots.get(name)
        if slot and slot.state == _POSTED and slot.ts in standing and slot.ts != ts:
            yield ts


def compared(presenter: Presenter, *, rounds: ThreadRounds) -> Round:
    made = ThreadRound(presenter=presenter, recent=rounds)
    return Round(name=NAME, make=made.make, rounds=rounds, clock=presenter.clock)


@dataclass(frozen=True, kw_only=True)
class ThreadRound:
    presenter: Presenter
    recent: Recent

    async def make(self, last: datetime | None, now: datetime) -> bool:
        """One round. False: there are no threads. Raises `Unavailable`."""
        found = await self.recent.threads(MOST)
        for number, (run, thread) in enumerate(found):
            if number:
                await self.presenter.clock.sleep(BETWEEN)
            with spared(log, "thread_uncompared", run=run):
                try:
                    await self._compare(run, thread)
                except SlackRejected as error:  # nobody can write there any more, either
                    log.info("thread_unread", extra={"run": run, "code": error.code})
        return bool(found)

    async def _compare(self, run: RunId, thread: Thread) -> None:
        presenter = self.presenter
        slots = await presenter.threads.slots(run)
        said = [each async for each in presenter.slack.thread(thread.channel, thread.ts)]
        found = difference(run, slots, said)
        if found.gone or found.unknown:
            names = sorted(found.gone | found.unknown)
            log.warning("messages_missed", extra={"run": run, "slots": names})
            presenter.renew(run, found.gone | found.unknown)
        for ts in found.doubles:
            log.warning("message_twice", extra={"run": run, "ts": ts})
            await presenter.slack.delete(thread.channel, ts, sure=presenter.sure)
