"""Takes a run from the queue and walks its stages, from the stored status on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from agent import failpoints
from agent.basis import basis
from agent.canaries import Canaries
from agent.codeview import CodeView
from agent.context import Context
from agent.copies import minded, take_up_again
from agent.dependencies import Installer
from agent.errors import (
    Broken,
    CopyLost,
    Fenced,
    ForgeUnavailable,
    Frozen,
    JourneymanError,
    LimitReached,
    NobodyThere,
    Refused,
    Stopped,
    StoreUnavailable,
)
from agent.events import RunEnded, WorkspaceReady
from agent.guard import guarded
from agent.hands import redo
from agent.journal import ACTOR, Journal
from agent.outage import put_off
from agent.ports import Clock, Model, Origin, Sandbox, Store, Vault, Write
from agent.project import Projects
from agent.report import report_on
from agent.retrieval.library import Library
from agent.run import ENDED, PARKED, WAITING, Run, RunId, RunStatus
from agent.runners import find_tests
from agent.stages.deliver import deliver, goes_on_delivering
from agent.stages.implement import implement
from agent.stages.keep import end, kept, succeed
from agent.stages.plan import plan
from agent.stages.publish import publish
from agent.stages.verify import verify
from agent.stages.watch import goes_on_watching, watch
from agent.work import Acceptance, Hold, Lookout, Work
from agent.workspace import furnished

log = logging.getLogger(__name__)

STAGES = {
    RunStatus.PLANNING: plan,
    RunStatus.WORKING: implement,
    RunStatus.TESTING: verify,
    RunStatus.PUBLISHING: publish,
}


#: The effect plane, or a later wake-up, has the run.
RESTING = PARKED | {RunStatus.PUBLISHING}


class Worker:
    """`origin` names where a project's code comes from, with a credential that only reads;
    without `lookout` no pipeline is watched, without `library` the model has exact search alone."""

    def __init__(
        self,
        *,
        name: str,
        store: Store,
        model: Model,
        sandbox: Sandbox,
        vaults: Callable[[str], Vault],
        origin: Callable[[str], Awaitable[Origin]],
        projects: Projects,
        clock: Clock,
        installer: Installer | None = None,
        lookout: Lookout | None = None,
        canaries: Canaries | None = None,
        acceptance: Acceptance | None = None,
        library: Library | None = None,
    ) -> None:
        self.name = name
        self._store = store
        self._model = model
        self._sandbox = sandbox
        self._vaults = vaults
        self._origin = origin
        self._projects = projects
        self._clock = clock
        self._installer = installer
        self._lookout = lookout
        self._canaries = canaries or Canaries()
        self._acceptance = acceptance
        self._library = library

    async def advance(self, run_id: RunId) -> None:
        """Returns when the run has ended, waits for something, or belongs to another worker."""
        failpoints.reached("claim", "before_call", StoreUnavailable)
        run = await self._store.claim(run_id, self.name)
        if run is None:
            return
        failpoints.reached("claim", "after_call", StoreUnavailable)
        log.info("run_claimed", extra={"run": run.id, "epoch": run.epoch, "status": run.status})
        held = _Held(run=run, began=self._clock.monotonic())
        try:
            async with AsyncExitStack() as stack:
                verdict = await _guarded(run, self._go(held, stack))
                if verdict is None:
                    return
                log.info("run_ends", extra={"run": run.id, "reason": verdict.reason})
                if held.hold is not None and await _guarded(run, _keep(held.hold, verdict)) is None:
                    return
            ended = RunEnded(
                status=verdict.status, reason=verdict.reason, error_id=verdict.error_id
            )
            await self._store.write(run.id, Write(payloads=(ended,)), actor=ACTOR, epoch=run.epoch)
        except Frozen:
            await self._put_back(run)
        except Fenced:
            log.info("run_fenced", extra={"run": run.id, "epoch": run.epoch})

    async def _put_back(self, run: Run) -> None:
        log.info("run_frozen", extra={"run": run.id, "epoch": run.epoch})
        with suppress(Fenced):  # who has it now heeds the freeze
            await self._store.heed_freeze(run.id, epoch=run.epoch)

    async def _go(self, held: _Held, stack: AsyncExitStack) -> None:
        run, store = held.run, self._store
        async with (
            _until(lambda: store.stop_asked(run.id), Stopped("A person stopped the run.")),
            _until(lambda: store.until_frozen(run.request.project), Frozen("A freeze came.")),
        ):
            hold = await self._hold(held)
            if goes_on_delivering(hold):
                await hold.journal.move(RunStatus.DELIVERING, hold.state.reason)
            elif goes_on_watching(hold):
                await hold.journal.move(RunStatus.WATCHING)
            if hold.lookout and hold.state.status is RunStatus.WATCHING:
                # needs neither conversation nor workspace; what it sets to work is queued, since
                # those who watch are woken beside the limits on work
                await watch(hold, hold.lookout)
                return
            if self._lookout and hold.state.status is RunStatus.DELIVERING:
                await deliver(hold, self._lookout)
                return
            try:
                await self._work(held, hold, stack)
            except CopyLost as lost:
                if hold.project.local:  # nobody would take it up again
                    raise
                await take_up_again(hold.journal, lost)

    async def _work(self, held: _Held, hold: Hold, stack: AsyncExitStack) -> None:
        try:
            async with minded(hold.vault, None):
                work = await self._take(held, hold)
        except ForgeUnavailable as outage:
            if hold.project.local:
                raise
            await put_off(hold.journal, outage)
            return
        async with minded(work.vault, work.base):
            if work.state.status is RunStatus.WATCHING:  # not any more
                await succeed(work)
            if work.state.status is RunStatus.PUBLISHING:
                await publish(work)  # needs no workspace
            if work.state.status in ENDED | WAITING | RESTING:
                return
            await stack.enter_async_context(furnished(work, self._sandbox, self._installer))
            await redo(work)
            await walk(work)

    async def _hold(self, held: _Held) -> Hold:
        run = held.run
        journal = await Journal.load(self._store, run)
        project = self._projects(run.request.project)
        if project is None:
            raise Refused(
                f"`{run.request.project}` is no longer among the projects in the settings."
            )
        held.hold = Hold(
            journal=journal,
            vault=self._vaults(run.request.project),
            clock=self._clock,
            project=project,
            lookout=self._lookout if project.watch_pipeline and not project.local else None,
            canaries=self._canaries,
            acceptance=self._acceptance,
        )
        return held.hold

    async def _take(self, held: _Held, hold: Hold) -> Work:
        """The conversation so far, and the commit that the run builds on."""
        journal, vault, project = hold.journal, hold.vault, hold.project
        failpoints.reached("clone", "before_intent", StoreUnavailable)
        if journal.state.status is RunStatus.QUEUED:
            planned = journal.state.plan is not None
            begin = RunStatus.WORKING if planned else RunStatus.PLANNING
            await journal.move(journal.state.interrupted or begin)
        failpoints.reached("claim", "after_outcome", StoreUnavailable)
        base, branch = await basis(hold, self._origin)
        if self._library is not None:
            self._library.prepare(project.path, base)  # while the run gets its workspace
        paths = await vault.list(base)

        async def read(path: str) -> bytes | None:
            return await vault.read(base, path)

        if journal.state.workspace is None:
            seconds = round(self._clock.monotonic() - held.began, 3)
            ready = WorkspaceReady(base=base, branch=branch, files=len(paths), seconds=seconds)
            await journal.write(ready)  # from here on the base is settled
            failpoints.reached("clone", "after_outcome", StoreUnavailable)
        held.hold = work = Work(
            journal=journal,
            paths=paths,
            tests=await find_tests(paths, read, project.test_command),
            context=await Context.restore(journal.events, journal.body),
            model=self._model,
            vault=vault,
            clock=self._clock,
            project=project,
            lookout=hold.lookout,
            canaries=hold.canaries,
            acceptance=hold.acceptance,
            base=base,
            branch=branch,
            began=held.began,
        )
        if self._library is not None:
            work.code = CodeView(
                library=self._library, project=project.path, commit=base, edits=work.edits
            )
        return work


async def walk(work: Work) -> None:
    """Stage after stage, until one ends the run, waits, or leaves it to the effect plane."""
    while stage := STAGES.get(work.state.status):
        before = work.state.status
        await stage(work)
        if work.state.status is before:
            return


async def _keep(work: Hold, verdict: _Verdict) -> None:
    status, reason = verdict.status, verdict.reason
    if status is RunStatus.CANCELLED:
        await work.journal.refresh()
        stop = work.state.stop
        by = stop.by.name if stop else "somebody"
        why = stop.reason if stop else ""
        reason = why or f"Stopped by @{by} at step {work.state.calls}."
    if not isinstance(work, Work):
        reason = f"{reason} {kept(work, None)}"
        end_ = RunEnded(status=status, reason=reason, error_id=verdict.error_id)
        await work.journal.write(end_)
        return
    report = report_on(work, reason) if status is RunStatus.ESCALATED else None
    await end(work, status, reason, escalation=report, error_id=verdict.error_id)


@dataclass(kw_only=True)
class _Held:
    run: Run
    began: float
    hold: Hold | None = None  #: a `Work` as soon as the conversation is there


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    """How a run ends that did not come to its own end."""

    status: RunStatus
    reason: str
    error_id: str = ""


async def _guarded(run: Run, deed: Awaitable[None]) -> _Verdict | None:
    """The one place where whatever goes wrong becomes the end of a run."""
    try:
        with guarded(log, "run_broke", run=run.id):
            await deed
    except (Fenced, Frozen, StoreUnavailable):
        raise
    except Stopped as error:
        return _Verdict(status=RunStatus.CANCELLED, reason=str(error))
    except (LimitReached, NobodyThere) as error:
        return _Verdict(status=RunStatus.ESCALATED, reason=str(error))
    except Broken as error:
        return _Verdict(status=RunStatus.FAILED, reason=str(error), error_id=error.error_id)
    except JourneymanError as error:
        return _Verdict(status=RunStatus.FAILED, reason=str(error))
    return None


@asynccontextmanager
async def _until(stop: Callable[[], Awaitable[None]], error: Exception) -> AsyncGenerator[None]:
    """Cancels what runs inside as soon as `stop` returns, and raises the error."""
    inside = asyncio.current_task()
    assert inside is not None
    stopped = False

    async def watch() -> None:
        nonlocal stopped
        await stop()
        stopped = True
        inside.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if stopped and inside.uncancel() == 0:
            raise error from None
        raise
    finally:
        watcher.cancel()
        await asyncio.wait({watcher})
