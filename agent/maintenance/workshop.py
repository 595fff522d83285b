"""What a task is given for a night: a project at one commit, and where its commands run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agent.dependencies import Installed, Installer
from agent.files import WorkspaceFiles
from agent.harness import NOTHING_INSTALLED
from agent.maintenance.findings import FindingStore
from agent.ports import (
    Box,
    Clock,
    Collected,
    CommandLimits,
    CommandResult,
    Mount,
    Network,
    Origin,
    Sandbox,
    Vault,
)
from agent.project import ProjectSettings
from agent.run import CommitSha
from agent.runners import TestCommand, find_tests
from agent.testreport import TestReport
from agent.verify import run_tests


@dataclass(frozen=True, kw_only=True)
class Place:
    """A workspace with one tree in it, and the packages that the tree declares."""

    folder: Path
    files: WorkspaceFiles
    box: Box
    packages: Installed

    async def exec(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        limits: CommandLimits | None = None,
        network: Network = Network.NONE,
        mounts: Sequence[Mount] = (),
    ) -> CommandResult:
        """A command with the project's packages; no network unless it is asked for."""
        return await self.box.exec(
            argv,
            env={**self.packages.env, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})},
            limits=limits,
            network=network,
            mounts=[*self.packages.mounts, *mounts],
        )


@dataclass(frozen=True, kw_only=True)
class Night:
    """Trees go in and out by their ids; places are thrown away after use."""

    project: ProjectSettings
    base: CommitSha
    branch: str  #: the base branch
    paths: Sequence[str]  #: of the base commit
    tests: TestCommand | None  #: found at the base commit, out of the reach of any change
    sandbox: Sandbox
    vault: Vault
    installer: Installer | None  #: None: the project's packages are not installed
    clock: Clock
    findings: FindingStore
    given: Collection[str] = ()  #: what the agent works on, or came to nothing with lately
    tell: Callable[[str], None] = lambda line: None  #: what is done now, for who looks on
    origin: Origin | None = None  #: None: no more of it than the base commit can be had
    _reports: dict[str, TestReport | None] = field(
        default_factory=dict[str, TestReport | None], init=False
    )

    @asynccontextmanager
    async def place(self, treeish: str) -> AsyncGenerator[Place]:
        """A fresh workspace with that tree, set up as for its tests."""
        folder = self.sandbox.new_folder("night")
        try:
            await self.vault.checkout(treeish, folder)
            await asyncio.to_thread(self.sandbox.adopt, folder)
            packages = NOTHING_INSTALLED
            if self.installer is not None:
                packages = await self.installer.install(folder, project=self.project.path)
            async with self.sandbox.open(folder) as box:
                place = Place(
                    folder=folder, files=WorkspaceFiles(folder), box=box, packages=packages
                )
                if self.project.setup:
                    limits = CommandLimits(seconds=self.project.test_seconds)
                    await place.exec(["bash", "-c", self.project.setup], limits=limits)
                yield place
        finally:
            self.vault.forget(folder)
            await self.sandbox.remove(folder)

    async def collect(self, place: Place) -> Collected:
        """What the place has become, against the base."""
        return await self.vault.collect(place.folder, self.base)

    async def difference(self, treeish: str) -> Collected:
        """A tree against the base."""
        folder = self.sandbox.new_folder("night")
        try:
            await self.vault.checkout(treeish, folder)
            return await self.vault.collect(folder, self.base)
        finally:
            self.vault.forget(folder)
            await self.sandbox.remove(folder)

    async def test(self, treeish: str) -> TestReport | None:
        """The project's tests on a tree, run once a tree; None when none are known."""
        if self.tests is None:
            return None
        if treeish not in self._reports:
            self._reports[treeish] = await self._test(treeish, self.tests)
        return self._reports[treeish]

    async def _test(self, treeish: str, command: TestCommand) -> TestReport:
        report = self.sandbox.new_folder("report")
        try:
            async with self.place(treeish) as place:
                tests = await run_tests(
                    place.box,
                    report,
                    command,
                    limits=CommandLimits(seconds=self.project.test_seconds),
                    mounts=place.packages.mounts,
                    env=dict(place.packages.env),
                    files=self.paths,
                )
                return tests.report
        finally:
            await self.sandbox.remove(report)


async def begin(
    project: ProjectSettings,
    vault: Vault,
    origin: Origin,
    *,
    sandbox: Sandbox,
    installer: Installer | None,
    clock: Clock,
    findings: FindingStore,
    given: Collection[str] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> Night:
    """At the newest commit of the project's base branch."""
    base, branch = await vault.fetch(origin, project.base_branch)
    paths = await vault.list(base)

    async def read(path: str) -> bytes | None:
        return await vault.read(base, path)

    return Night(
        project=project,
        base=base,
        branch=branch,
        paths=paths,
        tests=await find_tests(paths, read, project.test_command),
        sandbox=sandbox,
        vault=vault,
        installer=installer,
        clock=clock,
        findings=findings,
        given=given,
        tell=tell,
        origin=origin,
    )
