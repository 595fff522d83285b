"""A run in a worker's hands: everything that the stages and the loop use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agent.canaries import Canaries
from agent.codeview import CodeView, Edits, edits_of
from agent.context import Context
from agent.events import CheckpointTaken, Payload
from agent.files import WorkspaceFiles
from agent.harness import Harness
from agent.journal import Journal, digest_of
from agent.maintenance.night import Errand
from agent.outputs import Outputs
from agent.pace import Pace
from agent.ports import Box, Clock, ForgeReader, Model, Origin, OutsideLogs, Vault
from agent.project import ProjectSettings
from agent.run import CommitSha, RunId
from agent.runners import TestCommand
from agent.state import RunState


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What a checkpoint adds to the log; nothing when the tree is the one before."""

    payloads: tuple[Payload, ...] = ()
    bodies: tuple[bytes, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Case:
    """What an errand of the night has come to. Patches are against the base commit."""

    errand: Errand
    project: ProjectSettings
    base: CommitSha
    branch: str
    started: str  #: patch of the tree that it started from
    made: str  #: patch of what it has come to


@dataclass(frozen=True, kw_only=True)
class Desk:
    """The workspace, and where its commands and tests run."""

    folder: Path
    files: WorkspaceFiles
    box: Box
    harness: Harness
    outputs: Outputs


#: What speaks against the tree that an errand of the night has come to, in sentences.
Acceptance = Callable[[Case], Awaitable[Sequence[str]]]

#: Team and GitLab id -> id in the chat of whoever has linked the two.
Holder = Callable[[str, int], Awaitable[str | None]]


@dataclass(frozen=True, kw_only=True)
class Lookout:
    """What it takes to watch a run's merge request and its pipeline."""

    forge: ForgeReader
    origin: Callable[[str], Awaitable[Origin]]
    pace: Pace
    #: comments that a run's merge request had at the last look of this process
    comments: dict[RunId, int] = field(default_factory=dict[RunId, int])
    holder: Holder | None = None  #: None: gates mention nobody
    outside: OutsideLogs | None = None  #: None: logs of other CI systems are not read


@dataclass(kw_only=True)
class Hold:
    """A run in a worker's hands, without its conversation."""

    journal: Journal
    vault: Vault
    clock: Clock
    project: ProjectSettings
    lookout: Lookout | None = None  #: None: its pipeline is not watched
    canaries: Canaries = field(default_factory=Canaries)
    acceptance: Acceptance | None = None  #: None: errands of the night are not accepted

    @property
    def state(self) -> RunState:
        return self.journal.state


@dataclass(kw_only=True)
class Work(Hold):
    """`dirty`: tools may have changed files since the last checkpoint. The workspace is made
    while the model reads its first prompt; a run that only waits for its effects needs none."""

    context: Context
    model: Model
    base: CommitSha
    branch: str  #: the base branch
    paths: Sequence[str]  #: at the base commit
    code: CodeView | None = None  #: None: there is exact search alone
    tests: TestCommand | None  #: found at the base commit, out of the reach of the change
    began: float  #: by the monotonic clock, when this worker took the run
    dirty: bool = False
    furnishing: asyncio.Task[Desk] | None = None
    _saving: asyncio.Task[Snapshot] | None = field(default=None, init=False)

    async def desk(self) -> Desk:
        if self.furnishing is None:
            raise RuntimeError("no workspace is being made")
        return await asyncio.shield(self.furnishing)

    async def edits(self) -> Edits:
        """Files that differ from the base commit, as they are now. Call it while no command
        runs."""
        if self.dirty:
            now = await self.vault.collect((await self.desk()).folder, self.base)
        elif self.state.checkpoint is not None:
            now = self.state.checkpoint
        else:
            return Edits()
        if not now.files:
            return Edits()
        files = (await self.desk()).files
        return await edits_of(self.vault, self.paths, now.tree, now.files, files)

    @asynccontextmanager
    async def saving(self) -> AsyncGenerator[None]:
        """Takes a checkpoint while what is inside goes on, for `saved` to give."""
        self._saving = asyncio.create_task(self.snapshot())
        try:
            yield
        finally:
            await self._leave()

    async def saved(self) -> Snapshot:
        task = self._saving
        if task is None:
            return await self.snapshot()
        snapshot = await task
        self._saving = None
        return snapshot

    async def _leave(self) -> None:
        task, self._saving = self._saving, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
            self.dirty = True  # what it may have saved has not been stored

    async def snapshot(self) -> Snapshot:
        """The work tree as a tree in the vault. Call it while no command runs."""
        if not self.dirty:
            return Snapshot()
        self.dirty = False
        try:
            collected = await self.vault.collect((await self.desk()).folder, self.base)
        except BaseException:
            self.dirty = True
            raise
        before = self.state.checkpoint
        same = collected.tree == before.tree if before else not collected.files
        if same:
            return Snapshot()
        patch = collected.patch.encode("utf-8", "surrogateescape")
        taken = CheckpointTaken(
            tree=collected.tree, patch=digest_of(patch), files=tuple(collected.files)
        )
        return Snapshot(payloads=(taken,), bodies=(patch,))
