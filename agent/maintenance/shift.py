"""Works on the nights that are due, and gives what they changed to runs that publish it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta

from agent.copies import minded
from agent.dependencies import Installer
from agent.errors import JourneymanError, StoreUnavailable, Unavailable
from agent.guard import guarded
from agent.maintenance.diary import Diary, Due
from agent.maintenance.errands import give_out, given
from agent.maintenance.findings import Aside, FindingStore
from agent.maintenance.handing import hand_over
from agent.maintenance.night import Task, TaskReport
from agent.maintenance.standing import Registry
from agent.maintenance.tasks import TASKS, Run
from agent.maintenance.workshop import Night, begin
from agent.ports import Clock, ForgeReader, Origin, Sandbox, Store, Vault
from agent.project import Projects

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
PAUSE = 5.0  #: seconds between two looks for a night that is due
AWAY = timedelta(minutes=5)  #: between two attempts while GitLab does not answer
_HAND_BACK = 5.0  # seconds


@dataclass(kw_only=True)
class NightShift:
    """One night at a time in each process. `name`: whose lease it is."""

    name: str
    diary: Diary
    findings: FindingStore
    store: Store
    sandbox: Sandbox
    installer: Installer | None
    vaults: Callable[[str], Vault]
    origin: Callable[[str], Awaitable[Origin]]
    projects: Projects
    clock: Clock
    forge: ForgeReader | None = None  #: None: there are no merge requests to be asked for
    model: bool = True  #: is one configured?
    tell: Callable[[str], None] | None = None  #: what is done now; None: the log is told
    tasks: Mapping[Task, Run] = field(default_factory=lambda: TASKS)
    lease: timedelta = LEASE

    async def serve(self) -> None:
        """Until cancelled."""
        while True:
            try:
                with guarded(log, "nights_broke"):
                    worked = await self.work()
                if not worked:
                    await self.clock.sleep(PAUSE)
            except JourneymanError as error:  # what else is served here goes on
                log.warning("nights_wait", extra={"reason": str(error)})
                await self.clock.sleep(PAUSE)

    async def work(self) -> bool:
        """Does one night; False when none is due. What was begun by somebody who died is begun
        again: the same code gives the same trees, and so the same runs."""
        due = await self.diary.claim(self.name, self.lease)
        if due is None:
            return False
        try:
            await self.work_on(due)
        except asyncio.CancelledError:
            await self._hand_back(due)
            raise
        return True

    async def _hand_back(self, due: Due) -> None:
        """Whoever is told to stop, by a deployment say, has not died of the night."""
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_HAND_BACK):
                await self.diary.put_off(due.id, self.name, timedelta(0))

    async def work_on(self, due: Due) -> TaskReport | None:
        """None: the night comes again later, or somebody else has it by now."""
        ended: TaskReport | None = None
        log.info("night_begins", extra={"night": due.id, "project": due.project, "task": due.task})
        async with self._held(due):
            aside = Aside(store=self.findings)
            report = await self._done(due, aside)
            if report is not None:
                # what a failed night saw was told to nobody
                seen = None if report.status == "failed" else aside.kept
                kept = await self.diary.finish(due.id, self.name, report, seen)
                facts = {"night": due.id, "status": report.status, "kept": kept}
                log.info("night_ends", extra=facts)
                ended = report if kept else None
        return ended

    async def _done(self, due: Due, aside: Aside) -> TaskReport | None:
        """None: something outside does not answer, and the night comes again after a while."""
        began = self.clock.monotonic()
        try:
            with guarded(log, "night_broke", night=due.id):
                report = await self._worked(due, aside)
        except StoreUnavailable:
            raise
        except Unavailable as error:
            if await self.diary.put_off(due.id, self.name, AWAY):
                log.warning("night_waits", extra={"night": due.id, "reason": str(error)})
                return None
            report = _failed(due, str(error))
        except JourneymanError as error:
            report = _failed(due, str(error))
        return replace(report, seconds=round(self.clock.monotonic() - began, 1))

    async def _worked(self, due: Due, aside: Aside) -> TaskReport:
        async with minded(self.vaults(due.project), None):
            night = await self._night(due, aside)
        async with minded(night.vault, night.base):
            report = await self.tasks[due.task](night)
            registry = Registry(
                store=self.store, vault=night.vault, forge=self.forge, origin=self.origin
            )
            report = await hand_over(registry, self.diary, night, due, report)
        return await give_out(self.store, night, due, report, model=self.model)

    async def _night(self, due: Due, findings: FindingStore) -> Night:
        project = self.projects(due.project)
        if project is None:
            raise JourneymanError(f"`{due.project}` is no longer among the projects.")
        return await begin(
            project,
            self.vaults(due.project),
            await self.origin(due.project),
            sandbox=self.sandbox,
            installer=self.installer,
            clock=self.clock,
            findings=findings,
            given=await given(self.store, self.diary, due.project, due.fire_at),
            tell=self.tell
            or (lambda line: log.info("night_step", extra={"night": due.id, "step": line})),
        )

    @asynccontextmanager
    async def _held(self, due: Due) -> AsyncGenerator[None]:
        """Renews the lease; where it was lost, what is done inside is given up."""
        inside = asyncio.current_task()
        assert inside is not None
        lost = False

        async def renew() -> None:
            nonlocal lost
            while await self._renewed(due):
                await self.clock.sleep(self.lease.total_seconds() / 3)
            lost = True
            inside.cancel()

        renewing = asyncio.create_task(renew())
        try:
            yield
        except asyncio.CancelledError:
            if lost and inside.uncancel() == 0:
                log.warning("night_lost", extra={"night": due.id})
                return
            raise
        finally:
            renewing.cancel()
            await asyncio.wait({renewing})

    async def _renewed(self, due: Due) -> bool:
        try:
            return await self.diary.renew(due.id, self.name, self.lease)
        except Unavailable as error:
            log.warning("lease_waits", extra={"night": due.id, "reason": str(error)})
            return True  # who stores nothing loses nothing: the end of the night tells


def _failed(due: Due, why: str) -> TaskReport:
    return TaskReport(task=due.task, status="failed", problems=(why,))
