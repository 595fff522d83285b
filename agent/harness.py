"""Where the run's commands and tests run, prepared in the background while the model reads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from agent.dependencies import Installed, Installer
from agent.events import DependenciesReady, TestsRan
from agent.journal import Journal
from agent.ports import Box, CommandLimits, CommandResult, Sandbox, Vault
from agent.project import ProjectSettings
from agent.run import CommitSha, TreeSha
from agent.runners import TestCommand
from agent.testreport import TestReport
from agent.verify import Tests, run_tests

NOTHING_INSTALLED = Installed(
    env={"PYTHONPATH": "/workspace:/workspace/src", "PYTHONDONTWRITEBYTECODE": "1"},
    record=DependenciesReady(manager="", cached=False, seconds=0.0),
)
#: Of what a runner tells its jobs, what makes sense here.
CI = {"CI": "true", "GITLAB_CI": "true", "CI_PROJECT_DIR": "/workspace"}


def printed(tests: Tests) -> bytes:
    """The body that the report's `output` names."""
    return tests.output.encode("utf-8", "replace")


class Harness:
    """`start` begins to prepare; whoever needs the result waits for it. `installer` None: the
    project's packages are not installed."""

    def __init__(
        self,
        *,
        journal: Journal,
        project: ProjectSettings,
        sandbox: Sandbox,
        installer: Installer | None,
        vault: Vault,
        base: CommitSha,
        folder: Path,
        box: Box,
        tests: TestCommand | None,
        paths: Sequence[str],
    ) -> None:
        self._journal = journal
        self._project = project
        self._sandbox = sandbox
        self._installer = installer
        self._vault = vault
        self._base = base
        self._folder = folder
        self._box = box
        self._ready: asyncio.Task[Installed] | None = None
        self._base_report: asyncio.Task[TestReport | None] | None = None
        self._ready_folders: set[Path] = set()
        self._tests = tests
        self._paths = paths

    def start(self) -> None:
        self._ready = asyncio.create_task(self._install())
        self._base_report = asyncio.create_task(self._test_base())

    async def close(self) -> None:
        for task in (self._base_report, self._ready):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def exec(
        self, argv: Sequence[str], *, limits: CommandLimits | None = None
    ) -> CommandResult:
        """A command of the model's, with the project's packages."""
        packages = await self._packages()
        await self._set_up(self._box, self._folder, packages)
        env = {**packages.env, "PYTHONDONTWRITEBYTECODE": "1"}  # caches would be committed
        return await self._box.exec(argv, env=env, mounts=packages.mounts, limits=limits)

    async def test(
        self, selection: Sequence[str] = (), *, seconds: float | None = None
    ) -> Tests | None:
        """The project's tests on the work tree as it is; None when no way to run any is known."""
        await self._packages()
        return await self._test(self._box, self._folder, selection, seconds)

    async def baseline(self) -> TestReport | None:
        """The same at the base commit, where nothing of the change is."""
        return await asyncio.shield(self._base_report) if self._base_report else None

    async def rehearse(self, script: Sequence[str], tree: TreeSha) -> CommandResult:
        """A CI job's commands on a tree of its own: what they leave behind is not kept."""
        packages = await self._packages()
        folder = self._sandbox.new_folder("rehearsal")
        try:
            await self._vault.checkout(tree, folder)
            await asyncio.to_thread(self._sandbox.adopt, folder)
            async with self._sandbox.open(folder) as box:
                return await box.exec(
                    ["bash", "-c", "\n".join(("set -eo pipefail", *script))],
                    env={**packages.env, **CI},
                    mounts=packages.mounts,
                    limits=CommandLimits(seconds=self._project.test_seconds),
                )
        finally:
            self._vault.forget(folder)
            await self._sandbox.remove(folder)

    async def _packages(self) -> Installed:
        assert self._ready is not None, "the harness was not started"
        return await asyncio.shield(self._ready)

    async def _install(self) -> Installed:
        installed = await self._installed(self._folder)
        if self._journal.state.dependencies is None:
            await self._journal.write(installed.record)
        return installed

    async def _installed(self, folder: Path) -> Installed:
        if self._installer is None:
            return NOTHING_INSTALLED
        return await self._installer.install(folder, project=self._project.path)

    async def _test_base(self) -> TestReport | None:
        state = self._journal.state
        if state.tests_base is not None or self._tests is None:
            return state.tests_base
        await self._packages()
        folder = self._sandbox.new_folder(f"base-{state.run}")
        try:
            await self._vault.checkout(self._base, folder)
            await asyncio.to_thread(self._sandbox.adopt, folder)
            async with self._sandbox.open(folder) as box:
                tests = await self._test(box, folder, ())
        finally:
            self._vault.forget(folder)
            await self._sandbox.remove(folder)
        if tests is None:
            return None
        ran = TestsRan(report=tests.report, where="base")
        await self._journal.write(ran, bodies=[printed(tests)])
        return tests.report

    async def _test(
        self, box: Box, folder: Path, selection: Sequence[str], seconds: float | None = None
    ) -> Tests | None:
        if self._tests is None:
            return None
        packages = await self._installed(folder)  # the change may have declared new ones
        await self._set_up(box, folder, packages)
        seconds = seconds or self._project.test_seconds
        limits = CommandLimits(seconds=seconds, head=1 << 20, tail=3 << 20)
        report = self._sandbox.new_folder("report")
        try:
            return await run_tests(
                box,
                report,
                self._tests.selecting(selection),
                limits=limits,
                mounts=packages.mounts,
                env=dict(packages.env),
                files=self._paths,
            )
        finally:
            await self._sandbox.remove(report)

    async def _set_up(self, box: Box, folder: Path, packages: Installed) -> None:
        """The project's own preparation, once a folder. What fails there shows in the tests."""
        if not self._project.setup or folder in self._ready_folders:
            return
        await box.exec(
            ["bash", "-c", self._project.setup],
            env=packages.env,
            mounts=packages.mounts,
            limits=CommandLimits(seconds=self._project.test_seconds),
        )
        self._ready_folders.add(folder)
