"""Whether new tests are worth having: they pass, and each fails on a program made wrong."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice, zip_longest

from agent.difference import LINK, SUBMODULE, FileDiff
from agent.errors import ToolFailed
from agent.maintenance.coverage.measure import find_tool, measure
from agent.maintenance.coverage.mutants import Mutant, mutants, neutral
from agent.maintenance.coverage.task import LARGEST, RUNNERS
from agent.maintenance.lint.change import Change, untouchable
from agent.maintenance.night import Uncovered
from agent.maintenance.workshop import Night, Place
from agent.ports import CommandLimits
from agent.runners import TestCommand, find_tests
from agent.tamper import python
from agent.tamper.compare import is_test
from agent.testreport import BAD, CaseStatus, TestReport
from agent.verify import run_tests

MUTANTS = 12
SECONDS = 60.0  #: for the new tests on one mutant
NAMED = 5
#: What a program that was made wrong may end with in any test, whatever that looks at.
_CRASH = re.compile(
    r"^(?:E +)?(?:\w+\.)*(?:TypeError|NameError|UnboundLocalError|AttributeError|ImportError"
    r"|ModuleNotFoundError|SyntaxError|KeyError|IndexError|ValueError|ZeroDivisionError"
    r"|RecursionError)\b",
    re.MULTILINE,
)


def no_tests(made: Change, paths: Sequence[str], before: Mapping[str, str]) -> dict[str, str]:
    """Of the paths those whose change is more than added tests, and why. `before`: texts of test
    files at the base."""
    diffs = {path: made[path].diff for path in paths if path in made}
    why = {path: _unfit(diffs.get(path), before.get(path, "")) for path in paths}
    return {path: reason for path, reason in why.items() if reason}


def _unfit(diff: FileDiff | None, before: str) -> str:
    if diff is None or diff.new is None or diff.old not in (None, diff.new):
        return "files that are there have to stay"
    if untouchable(diff.path) or not is_test(diff.path) or "conftest" in diff.path:
        return "this is no test file, and only tests may be added"
    if not diff.path.endswith(".py"):
        return "only tests in Python are asked for"
    if diff.binary or {LINK, SUBMODULE} & {diff.old_mode, diff.new_mode}:
        return "this is no text file"
    removed = [each.text for each in diff.removed]
    last = before.rpartition("\n")[2]  # without a line end, it is removed and added again
    if removed and not (removed == [last] and last in {each.text for each in diff.added}):
        return f"lines that are there have to stay, such as line {diff.removed[0].number}"
    return ""


#: Of a test: its file, and its name with its classes.
Name = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class New:
    """The tests that were added. `asserting`: those that assert something themselves."""

    names: frozenset[Name]
    asserting: frozenset[Name]

    def of(self, case: str) -> Name | None:
        """The new test that the id of a case means: a path with names, or dotted names."""
        case = re.sub(r"( ?\[| \().*", "", case, flags=re.DOTALL)
        path, names, name = case.partition("::")
        if names:
            return (path, name) if (path, name) in self.names else None
        dotted = ((each, f".{_dotted(each)}") for each in sorted(self.names))
        return next((each for each, d in dotted if case and d.endswith(f".{case}")), None)


def _dotted(name: Name) -> str:
    return f"{name[0].removesuffix('.py')}/{name[1]}".replace("/", ".").replace("::", ".")


def new_tests(before: Mapping[str, str], after: Mapping[str, str]) -> New:
    names: set[Name] = set()
    asserting: set[Name] = set()
    for path, text in after.items():
        old = python.suite(path, before.get(path, "")).units
        for name, unit in python.suite(path, text).units.items():
            if unit.collected and name not in old:
                names.add((path, name))
                if unit.assertions:
                    asserting.add((path, name))
    return New(names=frozenset(names), asserting=frozenset(asserting))


async def worthless(
    night: Night,
    tree: str,
    lines: Sequence[Uncovered],
    before: Mapping[str, str],
    after: Mapping[str, str],
) -> tuple[str, ...]:
    """What speaks against the tests in a tree, in sentences. `after`: texts of the test files
    that were changed, `before`: as they were."""
    new = new_tests(before, after)
    if not new.names:
        return ("No test was added that the runner would find.",)
    command = await _command(night, sorted(after))
    if command is None:
        return ("The project's tests cannot be run one by one here.",)
    sources = await _sources(night, lines)
    async with night.place(tree) as place:
        try:
            tool = await find_tool(night, place)
            measured = await measure(night, place, tool, command, sorted(sources))
            if said := _failing(measured.report, new):
                return said
            hit = {
                each.path: measured.runs[each.path].executed.intersection(each.lines)
                for each in lines
                if each.path in measured.runs
            }
            if not any(hit.values()):
                return ("The new tests run none of the lines that were asked for.",)
            trial = _Trial(night=night, place=place, command=command, sources=sources)
            return await trial.of(new, [(path, hit[path]) for path in sorted(hit) if hit[path]])
        except ToolFailed as error:
            return (f"What the new tests notice could not be found out: {error}",)


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """The new tests on the program made wrong in one line after the other."""

    night: Night
    place: Place
    command: TestCommand
    sources: Mapping[str, str]

    async def of(self, new: New, hit: Sequence[tuple[str, Collection[int]]]) -> tuple[str, ...]:
        for path, _ in hit:
            words = neutral(self.sources[path])
            if words is None:
                return (f"`{path}` cannot be read as Python.",)
            async with self._instead(path, words):
                control = await self._run()
            if not control.green:
                return (
                    "The new tests fail when the program is only written in other words: they may "
                    "not look at its text or its line numbers.",
                )
        made = [mutants(path, self.sources[path], lines) for path, lines in hit]
        turns = (each for turn in zip_longest(*made) for each in turn if each is not None)
        left, unnoticed = set(new.names), list[Mutant]()
        for mutant in islice(turns, MUTANTS):
            self.night.tell(f"the new tests are tried on {mutant.path} line {mutant.line}")
            async with self._instead(mutant.path, mutant.source):
                noticed = killers(await self._run(), new)
            left -= noticed
            if not noticed:
                unnoticed.append(mutant)
            if not left:
                return ()
        return _useless(left, unnoticed)

    async def _run(self) -> TestReport:
        report = self.night.sandbox.new_folder("report")
        try:
            tests = await run_tests(
                self.place.box,
                report,
                self.command,
                limits=CommandLimits(seconds=min(SECONDS, self.night.project.test_seconds)),
                mounts=self.place.packages.mounts,
                env=dict(self.place.packages.env),
                files=self.night.paths,
            )
            return tests.report
        finally:
            await self.night.sandbox.remove(report)

    @asynccontextmanager
    async def _instead(self, path: str, text: str) -> AsyncGenerator[None]:
        files = self.place.files
        files.write(path, text.encode("utf-8", "surrogatepass"))
        try:
            yield
        finally:
            files.write(path, self.sources[path].encode())


def killers(report: TestReport, new: New) -> set[Name]:
    """New tests that notice. That a wrong program crashes is no merit of a test that asserts
    nothing; neither is that it never ends."""
    if report.stopped:
        return set()
    found: set[Name] = set()
    for case in report.cases:
        name = new.of(case.id) if case.status in BAD else None
        if name and (name in new.asserting or not _CRASH.search(case.message)):
            found.add(name)
    return found


def _useless(left: Collection[Name], unnoticed: Sequence[Mutant]) -> tuple[str, ...]:
    if not unnoticed:
        told = "Nothing in the lines that the new tests run could be made wrong for them."
    else:
        told = "; ".join(str(each) for each in unnoticed[:NAMED])
        told = f"None of the new tests fails when {told}."
    return (f"{_named(left)}: a new test has to fail on at least one line made wrong.", told)


def _failing(report: TestReport, new: New) -> tuple[str, ...]:
    if report.stopped:
        return (f"The new tests were ended by the sandbox ({report.stopped}).",)
    if not report.green:
        bad = [f"`{each.id[:200]}`" for each in report.cases if each.status in BAD]
        return (f"Tests in the changed files fail: {', '.join(bad[:NAMED]) or 'none by name'}.",)
    ran = {new.of(each.id) for each in report.cases if each.status is CaseStatus.PASSED}
    if idle := new.names - ran:
        return (f"These new tests did not run: {_named(idle)}.",)
    return ()


def _named(tests: Collection[Name]) -> str:
    told = ", ".join(f"`{path}::{name}`" for path, name in sorted(tests)[:NAMED])
    return f"{told} and {len(tests) - NAMED} more" if len(tests) > NAMED else told


async def _command(night: Night, paths: Sequence[str]) -> TestCommand | None:
    async def read(path: str) -> bytes | None:
        return await night.vault.read(night.base, path)

    found = await find_tests(night.paths, read, night.project.test_command)
    return found.selecting(paths) if found and found.runner in RUNNERS else None


async def _sources(night: Night, lines: Sequence[Uncovered]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for each in lines:
        data = await night.vault.read(night.base, each.path, limit=LARGEST)
        texts[each.path] = (data or b"").decode("utf-8", "replace")
    return texts
