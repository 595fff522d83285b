"""Takes pending intents through intent, act and outcome, and decides what is tried again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

from agent import failpoints
from agent.canaries import Canaries
from agent.effects.context import Effect, EffectContext, Handler, Later, NotYet
from agent.effects.delivery import OPEN_DELIVERY
from agent.effects.hand_over import HAND_OVER
from agent.effects.job import RETRY_JOB
from agent.effects.merge import MERGE
from agent.effects.merge_request import PUBLISH
from agent.effects.note import LINK_BACK
from agent.effects.play import PLAY_JOB
from agent.effects.push import PUSH
from agent.effects.review import REPLY
from agent.errors import (
    BROKE,
    Broken,
    Conflict,
    ForgeRejected,
    ForgeUnavailable,
    Frozen,
    GitFailed,
    JourneymanError,
    Refused,
    StoreUnavailable,
    Unavailable,
)
from agent.events import (
    EffectDone,
    EffectFailed,
    EffectIntended,
    EffectKind,
    Payload,
    RunEvent,
)
from agent.grip import held
from agent.guard import guarded
from agent.intents import (
    KIND,
    HandOver,
    Intent,
    LinkBack,
    Merge,
    OpenDelivery,
    PlayJob,
    PublishMergeRequest,
    Push,
    Reply,
    RetryJob,
)
from agent.ports import Clock, ForgeReader, ForgeWriter, Store, Vault, Write
from agent.project import Projects
from agent.run import RunId
from agent.state import fold
from agent.work import Holder

log = logging.getLogger(__name__)

#: GitLab shows a pushed branch to its merge requests up to 40 s later; in all 121 s.
BRANCH_LAG = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 60.0)
#: For a GitLab that is down; in all about an hour.
OUTAGE = (*BRANCH_LAG, *(120.0,) * 30)
#: For what GitLab has accepted and not done; in all two hours.
TRAIN = (5.0, 15.0, 30.0, *(60.0,) * 119)
#: For a defect of ours, which may be one of a moment.
BREAKS = (1.0, 8.0, 60.0)
MOST = len(OUTAGE) + len(TRAIN)  #: attempts in all
TRIES = 25  #: people may say something at any moment
#: Seconds until a freeze is looked at again; its end wakes what it held sooner.
FROZEN = 30.0

HANDLERS: dict[type[Intent], Handler[Any]] = {
    Push: PUSH,
    PublishMergeRequest: PUBLISH,
    LinkBack: LINK_BACK,
    RetryJob: RETRY_JOB,
    OpenDelivery: OPEN_DELIVERY,
    Merge: MERGE,
    PlayJob: PLAY_JOB,
    Reply: REPLY,
    HandOver: HAND_OVER,
}


class EffectExecutor:
    """`run_pending` is called when a run has intents, and again after each `Unavailable`."""

    def __init__(
        self,
        *,
        store: Store,
        vaults: Callable[[str], Vault],
        reader: ForgeReader,
        writer: ForgeWriter,
        merger: ForgeWriter | None = None,
        projects: Projects = lambda path: None,
        clock: Clock | None = None,
        public_url: str = "",
        canaries: Canaries | None = None,
        holder: Holder | None = None,
    ) -> None:
        self._store = store
        self._context = EffectContext(
            store=store,
            vaults=vaults,
            reader=reader,
            writer=writer,
            merger=merger or writer,
            projects=projects,
            clock=clock,
            public_url=public_url,
            canaries=canaries or Canaries(),
            holder=holder,
        )

    async def run_pending(self, run: RunId) -> None:
        """Raises `Unavailable` with `retry_after` when what is left has to wait."""
        pending = await self._store.pending_intents(run)
        try:
            for number, (key, intent) in enumerate(pending, 1):
                await self._context.heed(run)
                outcome = await self._settled(run, key, intent)
                wake = number == len(pending) or isinstance(outcome, EffectFailed)
                await self._settle(run, key, intent, outcome, wake=wake)
        except Frozen as freeze:
            raise ForgeUnavailable(str(freeze), retry_after=FROZEN) from freeze

    async def _settle(
        self,
        run: RunId,
        key: str,
        intent: Intent,
        outcome: EffectDone | EffectFailed,
        *,
        wake: bool,
    ) -> None:
        """Where our own defect prevents it, what is done is read back a few times, then told."""
        if isinstance(outcome, EffectFailed):  # may be because another process has done it
            await held()
        try:
            with guarded(log, "outcome_broke", run=run):
                await self._store.settle(run, key, outcome, wake=wake)
                failpoints.reached(_point(intent), "after_outcome", StoreUnavailable)
        except Broken as defect:
            events = await self._store.events(run)
            told = await self._later(run, key, KIND[type(intent)], events, str(defect), BREAKS)
            # a defect here as well breaks the job, which the queue counts
            await self._store.settle(run, key, told, wake=True)

    async def _settled(self, run: RunId, key: str, intent: Intent) -> EffectDone | EffectFailed:
        """Looked at afresh as often as somebody was quicker."""
        for _ in range(TRIES):
            try:
                return await self._outcome(run, key, intent, await self._store.events(run))
            except _Overtaken:
                continue
        raise ForgeUnavailable("This run is changing all the time.", retry_after=1.0)

    async def _outcome(
        self, run: RunId, key: str, intent: Intent, events: Sequence[RunEvent]
    ) -> EffectDone | EffectFailed:
        state, kind, handler = fold(events), KIND[type(intent)], HANDLERS[type(intent)]
        before = any(isinstance(e.payload, EffectIntended) and e.payload.key == key for e in events)
        try:
            with guarded(log, "effect_broke", run=run, effect=kind):
                if not before:
                    failpoints.reached(_point(intent), "before_intent", StoreUnavailable)
                    if handler.stands:
                        handler.stands(state, intent)
                    subject = handler.subject(state, intent)
                    await self._intend(
                        EffectIntended(key=key, effect=kind, subject=subject),
                        run,
                        state.seq if handler.stands else None,
                    )
                effect = Effect(key=key, intent=intent, state=state, events=events, before=before)
                failpoints.reached(_point(intent), "before_call", ForgeUnavailable)
                done = await handler.act(self._context, effect)
                failpoints.reached(_point(intent), "after_call", ForgeUnavailable)
            return done
        except NotYet as lag:
            return await self._later(run, key, kind, events, str(lag), BRANCH_LAG)
        except Later as train:
            return await self._later(run, key, kind, events, str(train), TRAIN)
        except (ForgeUnavailable, Unavailable) as outage:
            return await self._later(
                run, key, kind, events, str(outage), OUTAGE, at_least=outage.retry_after or 0
            )
        except Broken as defect:
            return await self._later(run, key, kind, events, str(defect), BREAKS)
        except (ForgeRejected, Refused, GitFailed) as refusal:
            return EffectFailed(key=key, effect=kind, problem=str(refusal))

    async def _later(
        self,
        run: RunId,
        key: str,
        kind: EffectKind,
        events: Sequence[RunEvent],
        problem: str,
        delays: Sequence[float],
        *,
        at_least: float = 0,
    ) -> EffectFailed:
        """The attempts are counted in the log, so that they survive a restart. What GitLab says
        has its own patience, whatever outage came before."""
        before = [e.payload.problem for e in events if _failed(e.payload, key)]
        if delays is BREAKS:  # each has an id of its own
            failed = sum(each.startswith(BROKE) for each in before)
        else:
            failed = len(before) if delays is OUTAGE else before.count(problem)
        if failed >= len(delays) or len(before) >= MOST:
            return EffectFailed(key=key, effect=kind, problem=problem)
        delay = max(delays[failed], at_least)
        again = EffectFailed(
            key=key,
            effect=kind,
            problem=problem,
            retry_in=delay,
            attempt=failed + 1,
            attempts=len(delays) + 1,
        )
        await self._log(run, again)
        raise ForgeUnavailable(problem, retry_after=delay)

    async def _intend(self, intended: EffectIntended, run: RunId, seq: int | None) -> None:
        write = Write(payloads=(intended,))
        try:
            await self._store.write(
                run, write, actor="effects", expect_seq=seq, intent=intended.key
            )
        except Conflict as error:
            raise _Overtaken from error

    async def _log(self, run: RunId, payload: EffectFailed) -> None:
        write = Write(payloads=(payload,))
        await self._store.write(run, write, actor="effects", intent=payload.key)


def _point(intent: Intent) -> str:
    kind = KIND[type(intent)]
    return "merge_request" if kind is EffectKind.OPEN_MERGE_REQUEST else kind.value


def _failed(payload: Payload, key: str) -> TypeGuard[EffectFailed]:
    return isinstance(payload, EffectFailed) and payload.key == key


class _Overtaken(JourneymanError):
    """Something else came into the log."""
