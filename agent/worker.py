"""Takes a run from the queue and walks its stages, from the stored status on."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from agent.context import Context
from agent.dependencies import Installer
from agent.errors import (
    Fenced,
    JourneymanError,
    LimitReached,
    Refused,
    Stopped,
    StoreUnavailable,
    ToolFailed,
)
from agent.events import RunEnded, WorkspaceReady
from agent.files import WorkspaceFiles
from agent.hands import redo
from agent.harness import Harness
from agent.journal import Journal
from agent.ports import Clock, Model, Origin, Sandbox, Store, Vault
from agent.project import Projects
from agent.run import CommitSha, RunId, RunStatus, TreeSha
from agent.runners import TestCommand, find_tests
from agent.stages.implement import implement
from agent.stages.keep import end
from agent.stages.plan import plan
from agent.stages.publish import publish
from agent.stages.verify import verify
from agent.work import Work

log = logging.getLogger(__name__)

STAGES = {
    RunStatus.PLANNING: plan,
    RunStatus.WORKING: implement,
    RunStatus.TESTING: verify,
    RunStatus.PUBLISHING: publish,
}


class Worker:
    """`origin` names where a project's code comes from, with a credential that only reads."""

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

    async def advance(self, run_id: RunId) -> None:
        """Returns when the run has ended, waits for something, or belongs to another worker."""
        run = await self._store.claim(run_id, self.name)
        if run is None:
            return
        began = self._clock.monotonic()
        log.info("run_claimed", extra={"run": run.id, "epoch": run.epoch, "status": run.status})
        journal = await Journal.load(self._store, run)
        try:
            async with AsyncExitStack() as stack:
                await self._guarded(journal, stack, began)
        except Fenced:
            log.info("run_fenced", extra={"run": run.id, "epoch": run.epoch})

    async def _guarded(self, journal: Journal, stack: AsyncExitStack, began: float) -> None:
        """The one place where whatever goes wrong becomes the end of the run."""
        work: Work | None = None
        error_id = ""
        try:
            async with _until(lambda: self._store.stop_asked(journal.run.id)):
                work = await self._open(journal, stack, began)
                await walk(work)
            return
        except (Fenced, StoreUnavailable):
            raise
        except Stopped:
            await journal.refresh()
            by = journal.state.stop.by.name if journal.state.stop else "somebody"
            status, reason = RunStatus.CANCELLED, f"Stopped by @{by} at step {journal.state.calls}."
        except LimitReached as error:
            status, reason = RunStatus.ESCALATED, str(error)
        except JourneymanError as error:
            status, reason = RunStatus.FAILED, str(error)
        except Exception:
            error_id = secrets.token_hex(2)
            log.exception("run_broke", extra={"run": journal.run.id, "error": error_id})
            status = RunStatus.FAILED
            reason = f"Something broke on our side (error {error_id})."
        log.info("run_ended", extra={"run": journal.run.id, "status": status, "reason": reason})
        await _end(journal, work, status, reason, error_id)

    async def _open(self, journal: Journal, stack: AsyncExitStack, began: float) -> Work:
        """The workspace as it was left, in a new empty folder, and the conversation so far."""
        run, state = journal.run, journal.state
        project = self._projects(run.request.project)
        if project is None:
            raise Refused(
                f"`{run.request.project}` is no longer among the projects in the settings."
            )
        if state.status is RunStatus.QUEUED:
            await journal.move(RunStatus.WORKING if state.plan else RunStatus.PLANNING)
        vault = self._vaults(run.request.project)
        base, branch = await self._base(journal, vault)
        folder = self._sandbox.new_folder(f"run-{run.id}-{run.epoch}")
        stack.push_async_callback(self._sandbox.remove, folder)
        notes = await vault.checkout(await _tree(journal, vault, base), folder)
        await asyncio.to_thread(self._sandbox.adopt, folder)
        paths = await vault.list(base)
        if state.workspace is None:
            ready = WorkspaceReady(
                base=base,
                branch=branch,
                files=len(paths),
                seconds=round(self._clock.monotonic() - began, 3),
                notes=tuple(notes),
            )
            await journal.write(ready)
        box = await stack.enter_async_context(self._sandbox.open(folder))
        files = WorkspaceFiles(folder)
        harness = Harness(
            journal=journal,
            project=project,
            sandbox=self._sandbox,
            installer=self._installer,
            vault=vault,
            base=base,
            folder=folder,
            box=box,
            tests=await _test_command(journal, vault, files, base, paths, project.test_command),
            paths=paths,
        )
        harness.start()
        stack.push_async_callback(harness.close)
        work = Work(
            journal=journal,
            context=await Context.restore(journal.events, journal.body),
            model=self._model,
            vault=vault,
            clock=self._clock,
            project=project,
            base=base,
            folder=folder,
            files=files,
            box=box,
            harness=harness,
            began=began,
        )
        await redo(work)
        return work

    async def _base(self, journal: Journal, vault: Vault) -> tuple[CommitSha, str]:
        """The commit that the run builds on: chosen once, and kept for life."""
        request, ready = journal.run.request, journal.state.workspace
        if ready is not None and await vault.has(ready.base):
            return ready.base, ready.branch
        origin = await self._origin(request.project)
        wanted = ready.branch if ready else request.base_branch
        newest, branch = await vault.fetch(origin, wanted)
        return (ready.base if ready else newest), branch


async def walk(work: Work) -> None:
    """Stage after stage, until one ends the run, waits, or leaves it to the effect plane."""
    while stage := STAGES.get(work.state.status):
        before = work.state.status
        await stage(work)
        if work.state.status is before:
            return


async def _tree(journal: Journal, vault: Vault, base: CommitSha) -> TreeSha | CommitSha:
    checkpoint = journal.state.checkpoint
    if checkpoint is None:
        return base
    patch = await journal.body(checkpoint.patch)
    return await vault.restore(base, patch.decode("utf-8", "surrogateescape"))


async def _test_command(
    journal: Journal,
    vault: Vault,
    files: WorkspaceFiles,
    base: CommitSha,
    paths: Sequence[str],
    named: str | None,
) -> TestCommand | None:
    """Found at the base commit, out of the reach of the change."""

    async def read(path: str) -> bytes | None:
        if journal.state.checkpoint is not None:
            return await vault.read(base, path)
        try:
            return files.read(path, 65_536)
        except ToolFailed:
            return None

    return await find_tests(paths, read, named)


async def _end(
    journal: Journal, work: Work | None, status: RunStatus, reason: str, error_id: str
) -> None:
    if work is not None:
        await end(work, status, reason, error_id=error_id)
    else:
        await journal.write(RunEnded(status=status, reason=reason, error_id=error_id))


@asynccontextmanager
async def _until(stop: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Cancels what runs inside as soon as `stop` returns, and raises `Stopped`."""
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
            raise Stopped("A person stopped the run.") from None
        raise
    finally:
        watcher.cancel()
        await asyncio.wait({watcher})
