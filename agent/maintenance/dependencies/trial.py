"""Tries updates on the project: the manifests are changed, the packages installed, and the tests
run, each time on a tree of its own beside the base."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agent.dependencies import Installer
from agent.errors import GitFailed, ToolFailed, Unavailable
from agent.files import WorkspaceFiles
from agent.maintenance.dependencies.ecosystem import Project
from agent.maintenance.dependencies.shop import opened
from agent.maintenance.night import Update
from agent.maintenance.workshop import Night
from agent.run import TreeSha
from agent.testreport import TestReport

_NAMED = 3  #: failing tests that a reason names


@dataclass(frozen=True, kw_only=True)
class Tried:
    """`red` is the reason in a sentence, empty when all is well."""

    red: str = ""
    tree: TreeSha | None = None
    files: tuple[str, ...] = ()
    tests: TestReport | None = None


@dataclass(frozen=True, kw_only=True)
class Trials:
    """Raises `Unavailable` when a registry fails, which is no update's fault."""

    night: Night
    installer: Installer
    project: Project
    before: TestReport | None
    in_time: Callable[[], bool]
    _tried: dict[frozenset[tuple[str, str]], Tried] = field(
        default_factory=dict[frozenset[tuple[str, str]], Tried]
    )

    async def attempt(self, updates: Sequence[Update]) -> Tried:
        key = frozenset((update.package, update.target) for update in updates)
        if key not in self._tried:
            if not self.in_time():
                raise Unavailable("The time for this night's updates was over.")
            self._tried[key] = await self._attempt(updates)
        return self._tried[key]

    async def _attempt(self, updates: Sequence[Update]) -> Tried:
        night, ecosystem = self.night, self.project.ecosystem
        mine = tuple(self.project.manifests)
        try:
            async with opened(
                self.project.manifests,
                sandbox=night.sandbox,
                installer=self.installer,
                project=night.project.path,
            ) as shop:
                await ecosystem.apply(shop, updates)
                changed = await asyncio.to_thread(shop.result, mine)
        except ToolFailed as error:
            return Tried(red=str(error))
        if not changed:
            return Tried(red=f"`{ecosystem.name}` changed nothing for it.")
        return await self._test(changed)

    async def _test(self, changed: dict[str, bytes]) -> Tried:
        night = self.night
        folder = night.sandbox.new_folder("updated")
        try:
            await night.vault.checkout(night.base, folder)
            files = WorkspaceFiles(folder)
            for path, data in changed.items():
                files.write(path, data)
            collected = await night.vault.collect(folder, night.base)
            installed = await self.installer.install(folder, project=night.project.path)
        except GitFailed as error:
            return Tried(red=str(error))
        finally:
            night.vault.forget(folder)
            await night.sandbox.remove(folder)
        problem = installed.record.problem
        if "could not reach a package registry" in problem:
            raise Unavailable(problem)
        if problem:
            return Tried(red=problem)
        strange = {file.path for file in collected.files} - set(changed)
        if strange:
            named = ", ".join(sorted(strange)[:5])
            return Tried(red=f"It would change other files as well ({named}), and was refused.")
        tests = await night.test(collected.tree)
        return Tried(
            red=_broken(tests, self.before),
            tree=collected.tree,
            files=tuple(sorted(changed)),
            tests=tests,
        )


def _broken(tests: TestReport | None, before: TestReport | None) -> str:
    """What is worse than it was; failures of before are not the update's."""
    if tests is None or tests.green:
        return ""
    new = tests.new_failures(before)
    if new:
        named = ", ".join(case.id for case in new[:_NAMED])
        more = f" and {len(new) - _NAMED} more" if len(new) > _NAMED else ""
        return f"With it, tests fail that passed before: {named}{more}.{_why(new[0].message)}"
    if tests.stopped and not (before and before.stopped):
        return f"With it, the tests were ended by the sandbox ({tests.stopped})."
    if before is None or before.green:
        return f"With it, the tests end with exit code {tests.exit_code}."
    if tests.passed < before.passed:
        return f"With it, {before.passed - tests.passed} fewer tests pass than before."
    return ""


def _why(message: str) -> str:
    """The line of a failure that says most; of Node's own runner, what differs."""
    facts = dict(re.findall(r"^(expected|actual): (.+)$", message, re.MULTILINE))
    if len(facts) == 2:
        return f" {facts['actual'][:100]} instead of {facts['expected'][:100]}."
    lines = [line.strip().removeprefix("E ").strip() for line in message.splitlines()]
    lines = [line for line in lines if line and not line.startswith("duration_ms:")]
    named = [line for line in lines if re.match(r"[\w.]*(?:Error|Exception)(?: \[\w+\])?:", line)]
    return f" {(named or lines)[0][:200]}" if lines else ""
