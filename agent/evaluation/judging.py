"""Runs the tests that an instance names on a tree, and tells which of them pass."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from agent.dependencies import Installer
from agent.evaluation.instance import NAMED, Share
from agent.harness import NOTHING_INSTALLED
from agent.ports import CommandLimits, Sandbox, Vault
from agent.project import ProjectSettings
from agent.run import CommitSha, TreeSha
from agent.runners import Runner, TestCommand, find_tests
from agent.testreport import BAD, CaseStatus, TestCase, TestReport
from agent.verify import run_tests

CASES = 50_000  #: tests of one report that are looked at
_SELECTION = 60_000  #: characters of file names that a command is given
_NAME = 300  #: characters of a test's id that are told
_UNITTEST = re.compile(r"(\w+) \(([^()\s]+)\)")


@dataclass(frozen=True, kw_only=True)
class Tried:
    report: TestReport
    missing: str  #: a sentence: which packages of the project could not be had; mostly empty


async def run_named(
    tree: TreeSha,
    vault: Vault,
    project: ProjectSettings,
    *,
    sandbox: Sandbox,
    installer: Installer | None,
    named: Sequence[str] = (),
    way: TreeSha | None = None,
) -> Tried | None:
    """In a fresh workspace, with the packages that the tree declares. `named`: ids of tests; the
    files that they are in are enough where the runner takes files. `way`: the tree that tells how
    tests are run, if not this one, which a run may have written. None: no tests are known."""
    known = way or tree

    async def read(path: str) -> bytes | None:
        return await vault.read(CommitSha(known), path)

    command = await find_tests(await vault.list(known), read, project.test_command)
    if command is None:
        return None
    paths = await vault.list(tree)
    folder, report = sandbox.new_folder("judged"), sandbox.new_folder("report")
    limits = CommandLimits(seconds=project.test_seconds)
    try:
        await vault.checkout(tree, folder)
        await asyncio.to_thread(sandbox.adopt, folder)
        packages = NOTHING_INSTALLED
        if installer is not None:
            packages = await installer.install(folder, project=project.path)
        async with sandbox.open(folder) as box:
            tests = await run_tests(
                box,
                report,
                _narrowed(command, named, paths),
                limits=limits,
                mounts=packages.mounts,
                env=dict(packages.env),
                files=paths,
                cases=CASES,
            )
            return Tried(report=tests.report, missing=packages.record.problem)
    finally:
        vault.forget(folder)
        await sandbox.remove(folder)
        await sandbox.remove(report)


def _narrowed(command: TestCommand, named: Sequence[str], paths: Sequence[str]) -> TestCommand:
    """Files rather than tests: a test that is not there would keep pytest from running any."""
    if command.runner is not Runner.PYTEST:
        return command
    files = dict.fromkeys(name.partition("::")[0] for name in named)
    there = [name for name in files if name in frozenset(paths)]
    if not there or sum(map(len, there)) > _SELECTION:
        return command
    return command.selecting(there)


def share(named: Sequence[str], cases: Mapping[str, CaseStatus]) -> Share:
    others = [name for name in named if not _passes(name, cases)]
    return Share(
        passed=len(named) - len(others),
        of=len(named),
        others=tuple(o[:300] for o in others[:NAMED]),
    )


def statuses(cases: Collection[TestCase]) -> dict[str, CaseStatus]:
    """By id; of a test that is told of twice the worse one."""
    found: dict[str, CaseStatus] = {}
    for case in cases:
        if found.get(case.id) not in BAD:
            found[case.id] = case.status
    return found


def _passes(name: str, cases: Mapping[str, CaseStatus]) -> bool:
    """Published ids end at the first blank of a parameter, and unittest's are told by test and
    class; a skipped test does not pass."""
    if name in cases:
        return cases[name] is CaseStatus.PASSED
    if told := _UNITTEST.fullmatch(name):
        owner = told[2] if told[2].endswith(f".{told[1]}") else f"{told[2]}.{told[1]}"
        return cases.get(owner) is CaseStatus.PASSED
    if "[" in name and not name.endswith("]"):
        meant = [status for id, status in cases.items() if id.startswith(f"{name} ")]
        return bool(meant) and all(status is CaseStatus.PASSED for status in meant)
    return False
