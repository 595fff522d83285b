"""Whether new tests are worth having: they pass, and each fails on a program made wrong."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice, zip_longest

from agent.errors import JourneymanError, ToolFailed, Unavailable
from agent.maintenance.coverage.added import Name, New, new_tests
from agent.maintenance.coverage.measure import Tool, find_tool, measure
from agent.maintenance.coverage.mutants import Mutant, mutants, neutral
from agent.maintenance.coverage.task import LARGEST, RUNNERS
from agent.maintenance.night import Uncovered
from agent.maintenance.workshop import Night, Place
from agent.ports import CommandLimits
from agent.runners import TestCommand, find_tests
from agent.testreport import BAD, CaseStatus, TestReport
from agent.verify import run_tests

MUTANTS = 12
SECONDS = 60.0  #: for the new tests on one mutant
WHOLE = 600.0  #: seconds for all of it
NAMED = 5
#: What a program that was made wrong may end with in any test, whatever that looks at.
_CRASH = re.compile(
    r"^(?:E +)?(?:\w+\.)*(?:TypeError|NameError|UnboundLocalError|AttributeError|ImportError"
    r"|ModuleNotFoundError|SyntaxError|KeyError|IndexError|ValueError|ZeroDivisionError"
    r"|RecursionError)\b",
    re.MULTILINE,
)


async def worthless(
    night: Night,
    tree: str,
    lines: Sequence[Uncovered],
    before: Mapping[str, str],
    after: Mapping[str, str],
) -> tuple[str, ...]:
    """What speaks against the tests in a tree, in sentences. `after`: texts of the test files
    that were changed, `before`: as they were. Raises where they cannot be judged here."""
    limit = asyncio.timeout(WHOLE)
    try:
        async with limit:
            return await _judged(night, tree, lines, before, after)
    except TimeoutError:
        if not limit.expired():
            raise
        return (
            f"What the new tests notice was not found out within {WHOLE / 60:.0f} minutes: fewer "
            "or quicker tests are wanted.",
        )


async def _judged(
    night: Night,
    tree: str,
    lines: Sequence[Uncovered],
    before: Mapping[str, str],
    after: Mapping[str, str],
) -> tuple[str, ...]:
    new = new_tests(before, after)
    if not new.names:
        return ("No test was added that the runner would find.",)
    command = await _command(night)
    sources = await _sources(night, lines)
    async with night.place(tree) as place:
        tool = await _tool(night, place)
        selected = command.selecting(sorted(after))
        try:
            measured = await measure(night, place, tool, selected, sorted(sources))
            base = await _base(night, command, sorted(before), measured.report)
            if said := _failing(measured.report, base, new):
                return said
            hit = {
                each.path: measured.runs[each.path].executed.intersection(each.lines)
                for each in lines
                if each.path in measured.runs
            }
            if not any(hit.values()):
                return ("The new tests run none of the lines that were asked for.",)
            trial = _Trial(
                night=night,
                place=place,
                command=selected,
                sources=sources,
                untouched=measured.report,
            )
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
    untouched: TestReport  #: of the tests on the program as it is

    async def of(self, new: New, hit: Sequence[tuple[str, Collection[int]]]) -> tuple[str, ...]:
        for path, _ in hit:
            words = neutral(self.sources[path])
            if words is None:
                return (f"`{path}` cannot be read as Python.",)
            async with self._instead(path, words):
                control = await self._run()
            if control.stopped:
                return (
                    f"The tests in the changed files did not end by themselves ({control.stopped}) "
                    "on the same program in other words: they have to be done within "
                    f"{self._seconds:.0f} seconds.",
                )
            if _worse(control, self.untouched):
                return (
                    "The new tests fail when the program is only written in other words: they may "
                    "not look at its text or its line numbers.",
                )
        made = [mutants(path, self.sources[path], lines) for path, lines in hit]
        turns = (each for turn in zip_longest(*made) for each in turn if each is not None)
        left, unnoticed, endless = set(new.names), list[Mutant](), list[Mutant]()
        for mutant in islice(turns, MUTANTS):
            self.night.tell(f"the new tests are tried on {mutant.path} line {mutant.line}")
            async with self._instead(mutant.path, mutant.source):
                report = await self._run()
            noticed = killers(report, new)
            left -= noticed
            if not noticed:
                (endless if report.stopped else unnoticed).append(mutant)
            if not left:
                return ()
        return _useless(left, unnoticed, endless)

    @property
    def _seconds(self) -> float:
        return min(SECONDS, self.night.project.test_seconds)

    async def _run(self) -> TestReport:
        return await _run(self.night, self.place, self.command, self._seconds)

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


def _useless(
    left: Collection[Name], unnoticed: Sequence[Mutant], endless: Sequence[Mutant]
) -> tuple[str, ...]:
    told = [f"{_named(left)}: a new test has to fail on at least one line made wrong."]
    for what, found in (
        ("None of the new tests fails when", unnoticed),
        ("The tests did not end, which tells nothing, when", endless),
    ):
        if found:
            told.append(f"{what} {'; '.join(str(each) for each in found[:NAMED])}.")
    if not unnoticed and not endless:
        told.append("Nothing in the lines that they run could be made wrong.")
    return tuple(told)


def _worse(report: TestReport, base: TestReport | None) -> bool:
    """Does anything fail that did not fail before?"""
    if report.bad:
        return bool(report.new_failures(base))
    return not report.green and (base is None or base.green)


def _failing(report: TestReport, base: TestReport | None, new: New) -> tuple[str, ...]:
    if report.stopped:
        return (f"The new tests were ended by the sandbox ({report.stopped}).",)
    if _worse(report, base):
        bad = [f"`{each.id[:200]}`" for each in report.new_failures(base)]
        return (f"Tests in the changed files fail: {', '.join(bad[:NAMED]) or 'none by name'}.",)
    ran = {new.of(each.id) for each in report.cases if each.status is CaseStatus.PASSED}
    if idle := new.names - ran:
        return (f"These new tests did not run: {_named(idle)}.",)
    return ()


def _named(tests: Collection[Name]) -> str:
    told = ", ".join(f"`{path}::{name}`" for path, name in sorted(tests)[:NAMED])
    return f"{told} and {len(tests) - NAMED} more" if len(tests) > NAMED else told


async def _tool(night: Night, place: Place) -> Tool:
    """That it cannot be had says nothing of the tests."""
    try:
        return await find_tool(night, place)
    except ToolFailed as error:
        raise Unavailable(f"The new tests could not be judged: {error}") from error


async def _base(
    night: Night, command: TestCommand, paths: Sequence[str], now: TestReport
) -> TestReport | None:
    """What becomes of the same files at the base, where that is of interest."""
    if now.green or now.stopped or not paths:
        return None
    async with night.place(night.base) as place:
        return await _run(night, place, command.selecting(paths), night.project.test_seconds)


async def _run(night: Night, place: Place, command: TestCommand, seconds: float) -> TestReport:
    report = night.sandbox.new_folder("report")
    try:
        tests = await run_tests(
            place.box,
            report,
            command,
            limits=CommandLimits(seconds=seconds),
            mounts=place.packages.mounts,
            env=dict(place.packages.env),
            files=night.paths,
        )
        return tests.report
    finally:
        await night.sandbox.remove(report)


async def _command(night: Night) -> TestCommand:
    async def read(path: str) -> bytes | None:
        return await night.vault.read(night.base, path)

    found = await find_tests(night.paths, read, night.project.test_command)
    if found is None or found.runner not in RUNNERS or not found.selects:
        raise JourneymanError(
            "The new tests could not be judged: the project's test command cannot be run for "
            "single files."
        )
    return found


async def _sources(night: Night, lines: Sequence[Uncovered]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for each in lines:
        data = await night.vault.read(night.base, each.path, limit=LARGEST)
        texts[each.path] = (data or b"").decode("utf-8", "replace")
    return texts
