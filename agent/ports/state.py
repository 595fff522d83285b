"""Runs, their logs, and what wakes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from agent.events import Payload, RunEvent
from agent.freeze import Freeze, OperatorEvent
from agent.gate import GateId
from agent.intents import Intent
from agent.run import Digest, Limits, Person, Request, Run, RunId, RunStatus, Thread


@dataclass(frozen=True, kw_only=True)
class Write:
    """What one transaction adds to a run. State and events change together, always.

    The row's status follows the log: `status` makes the store append a `StatusChanged` after
    the payloads, unless a `StatusChanged` (to give a reason) or a `RunEnded` is among them;
    these two change the row by themselves, `status` may then be left out.
    """

    payloads: tuple[Payload, ...]
    bodies: tuple[bytes, ...] = ()
    status: RunStatus | None = None
    intents: tuple[Intent, ...] = ()  #: stored and queued for the effect plane, in this order
    wake: bool = False  #: queue the run in the same transaction; its worker lets go of it
    wake_after: float = 0.0  #: with `wake`: seconds from now, instead of any other such wake-up


class Freezes(Protocol):
    """What is frozen: for its runs nothing is begun, gone on with, or changed outside."""

    async def freeze(
        self, scope: str, by: Person, reason: str, said: datetime | None = None
    ) -> Freeze:
        """Gives the freeze that stands then: of two of one scope the first one. Raises `NotFound`
        where this person has frozen it since it was `said`, and that was ended."""
        ...

    async def unfreeze(
        self, scope: str, by: Person, reason: str, said: datetime | None = None
    ) -> Freeze | None:
        """Gives the freeze that was ended; what it held goes on by itself. One that this person
        has ended since it was `said` is given again, and nothing more is done."""
        ...

    async def frozen(self, project: str) -> Freeze | None:
        """What holds the runs of a project, if anything does."""
        ...

    async def freezes(self) -> Sequence[Freeze]: ...

    async def until_frozen(self, project: str) -> None:
        """Returns as soon as the project is frozen, also before the call."""
        ...

    async def heed_freeze(self, run: RunId, *, epoch: int | None = None) -> Freeze | None:
        """Tells the run's log whether a freeze holds it, and gives the one that does. With
        `epoch` its worker lets go of it: it is queued again, and comes back after the freeze."""
        ...

    async def record(self, event: OperatorEvent) -> None:
        """`freeze` and `unfreeze` are recorded with what they do; this is for all else."""
        ...


class Store(Freezes, Protocol):
    """Runs and their logs. Raises `Fenced`, `StoreUnavailable`."""

    async def create(
        self,
        key: str,
        request: Request,
        limits: Limits,
        *,
        born: Write | None = None,
        alone: bool = False,
        after: RunId | None = None,
    ) -> tuple[Run, bool]:
        """Stores and queues a run; False when `key` made one before. `born`: what stands in its
        log from the beginning. `alone`: where another run of the thread, begun later than `after`,
        is under way, that one is given instead, and False."""
        ...

    async def run(self, run: RunId) -> Run: ...

    async def runs(
        self,
        *,
        statuses: Collection[RunStatus] | None = None,
        project: str | None = None,
        limit: int = 50,
    ) -> Sequence[Run]: ...

    async def run_of_thread(self, team: str, channel: str, ts: str) -> Run | None:
        """The newest run of a thread."""
        ...

    async def runs_of_thread(self, thread: Thread, *, limit: int = 50) -> Sequence[Run]:
        """Newest first."""
        ...

    async def events(self, run: RunId, *, after: int = 0) -> Sequence[RunEvent]: ...

    async def body(self, run: RunId, digest: Digest) -> bytes: ...

    async def claim(self, run: RunId, worker: str) -> Run | None:
        """Takes the run: epoch + 1, event `RunClaimed`; the status stays what it was. None when
        there is nothing to do: ended, waiting, or just ended here because a stop was asked for.
        Raises `Unavailable` with `retry_after` when as many runs are at work as may be, or while
        a freeze holds the run.

        A run that watches or delivers is looked after many times an hour: it needs no place among
        those at work, and its claim leaves no event. To work again it is woken as any other run.
        """
        ...

    async def free_places(self, *, besides: RunId | None = None) -> int | None:
        """How many more runs may be at work, over all workers; None: as many as anybody has.
        `besides`: a run that does not count."""
        ...

    async def write(
        self,
        run: RunId,
        write: Write,
        *,
        actor: str,
        epoch: int | None = None,
        expect: Collection[RunStatus] | None = None,
        expect_seq: int | None = None,
        intent: str = "",
    ) -> Run:
        """One transaction. With `epoch`: raises `Fenced` when another worker owns the run; with
        the key of an `intent`, when that has its outcome.
        With `expect`: raises `Conflict` when the status is another one, with `expect_seq` when
        the log has grown past this event, and always when the new status may not follow the
        present one."""
        ...

    async def append(
        self, run: RunId, write: Write, *, actor: str, epoch: int
    ) -> tuple[Run, Sequence[RunEvent]]:
        """A worker's write, with the events that it added; none of them where that is not known."""
        ...

    async def run_of_gate(self, gate: GateId) -> RunId | None:
        """The run that opened it."""
        ...

    async def pending_intents(self, run: RunId) -> Sequence[tuple[str, Intent]]:
        """Keys and intents that have no outcome yet, oldest first."""
        ...

    async def settle(self, run: RunId, key: str, payload: Payload, *, wake: bool) -> None:
        """Stores the outcome of an intent (`EffectDone`, or `EffectFailed` for good) once."""
        ...

    async def ask_stop(self, run: RunId, payload: Payload, *, actor: str) -> Run:
        """Sets the cancel flag; a run that is queued or waiting ends at once. What one message
        asks for is done once."""
        ...

    async def hint(self, run: RunId) -> bool:
        """Brings forward what a parked run that watches or delivers will do later, a second after
        it was parked at the earliest. False when there is no such wake-up."""
        ...

    async def stop_asked(self, run: RunId) -> None:
        """Returns as soon as a stop of the run has been asked for, also before the call."""
        ...

    def changes(self) -> AbstractAsyncContextManager[AsyncIterator[RunId]]:
        """Ids of runs as their logs grow, by notification. On each (re)connect first every run
        that has not ended or that changed during the last day, but for those whose thread is
        known to be in step. Ids that come faster than they are taken are merged."""
        ...


class Queue(Protocol):
    """Wake-ups of runs and effects, leased to workers."""

    async def work(
        self,
        *,
        on_run: Callable[[RunId], Awaitable[None]] | None = None,
        on_effects: Callable[[RunId], Awaitable[None]] | None = None,
        slots: int = 4,
    ) -> None:
        """Serves until cancelled; what is in flight is cancelled then and handed back within
        20 s. A call that raises `Unavailable` is handed back, too, and comes again after its
        `retry_after`. `slots`: runs at once in this process."""
        ...
