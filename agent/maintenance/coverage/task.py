"""One night of looking for lines that were changed lately and that no test runs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from agent.errors import ForgeRejected, GitFailed, ToolFailed
from agent.maintenance.coverage.errand import errands
from agent.maintenance.coverage.measure import Measured, find_tool, measure
from agent.maintenance.coverage.sources import is_generated, is_measured, is_source, statements
from agent.maintenance.night import Finding, Outcome, Task, TaskReport
from agent.maintenance.workshop import Night
from agent.ports import Landed
from agent.runners import Runner, TestCommand

LATELY = timedelta(days=7)
LARGEST = 1 << 20  #: bytes of a file that is looked at
FINDINGS = 500
RUNNERS = (Runner.PYTEST, Runner.UNITTEST)  #: whose single tests can be run by name

NO_HISTORY = "Which lines were changed lately is not known: there is no history to be had."
NO_TESTS = "Coverage: not checked, since no way to run the project's tests is known."
WHOLE_ONLY = (
    "What new tests would notice: not checked, so none were asked for, since the test command "
    "cannot be run for single files. Set a `test_command` that is one command, without `&&` or `;`."
)
RUNNER = "Coverage: not checked, since only tests of pytest and unittest are measured."

#: Of a file, where its statements begin that were changed lately.
_Wanted = Mapping[str, frozenset[int]]


async def cover(night: Night) -> TaskReport:
    began = night.clock.monotonic()
    try:
        report = await _cover(night)
    except (ForgeRejected, GitFailed, ToolFailed) as error:
        report = _report(status="failed", not_checked=(f"Coverage: not checked: {error}",))
    return replace(report, seconds=round(night.clock.monotonic() - began, 1))


async def _cover(night: Night) -> TaskReport:
    if night.origin is None:
        return _report(status="failed", not_checked=(NO_HISTORY,))
    night.tell("what was changed lately is looked up")
    landed = await night.vault.landed(
        night.origin,
        night.branch,
        night.base,
        [path for path in night.paths if is_source(path)],
        since=night.clock.now() - LATELY,
    )
    gaps = _gaps(landed)
    if not any(is_measured(path) for path in landed.lines):
        return _report(status="partial" if gaps else "nothing", not_checked=gaps)
    if night.tests is None or night.tests.runner not in RUNNERS:
        why = NO_TESTS if night.tests is None else RUNNER
        return _report(status="failed", not_checked=(*gaps, why))
    texts = await _texts(night, [path for path in landed.lines if is_measured(path)])
    wanted = await asyncio.to_thread(_wanted, texts, landed)
    if not wanted:
        return _report(status="partial" if gaps else "nothing", not_checked=gaps)
    uncovered = await _uncovered(night, night.tests, wanted)
    found = _findings(texts, uncovered)
    if found and not night.tests.selects:
        report = _report(status="partial", not_checked=(*gaps, WHOLE_ONLY))
        return replace(report, findings=tuple(found))
    given = errands(found, night.tests, night.paths, given=night.given)
    status: Outcome = "partial" if gaps else "done" if found else "nothing"
    report = _report(status=status, not_checked=gaps)
    return replace(report, findings=tuple(found), errands=given)


def _gaps(landed: Landed) -> tuple[str, ...]:
    gaps = [landed.gap] if landed.gap else []
    if others := sum(not is_measured(path) for path in landed.lines):
        many = f"{others} file{'s' if others > 1 else ''}"
        only = "only Python is measured, in files with plain names"
        gaps.append(f"Coverage of {many} that changed lately: not checked, {only}.")
    return tuple(gaps)


async def _texts(night: Night, paths: Sequence[str]) -> Mapping[str, str]:
    """Without files that programs write."""
    texts: dict[str, str] = {}
    for path in paths:
        data = await night.vault.read(night.base, path, limit=LARGEST)
        text = (data or b"").decode("utf-8", "replace")
        if not is_generated(text):
            texts[path] = text
    return texts


def _wanted(texts: Mapping[str, str], landed: Landed) -> _Wanted:
    found: dict[str, frozenset[int]] = {}
    for path, text in texts.items():
        first = statements(text)
        if lines := frozenset(first[line] for line in landed.lines[path] if line in first):
            found[path] = lines
    return found


async def _uncovered(night: Night, command: TestCommand, wanted: _Wanted) -> _Wanted:
    """Raises `ToolFailed`."""
    night.tell(f"coverage of {len(wanted)} files that changed lately")
    async with night.place(night.base) as place:
        tool = await find_tool(night, place)
        measured = await measure(night, place, tool, command, sorted(wanted))
    if measured.report.stopped or measured.report.no_tests:
        why = f"were ended by the sandbox ({measured.report.stopped})"
        raise ToolFailed(f"the tests {why if measured.report.stopped else 'ran none'}.")
    return {path: left for path in wanted if (left := _left(measured, path, wanted[path]))}


def _left(measured: Measured, path: str, wanted: frozenset[int]) -> frozenset[int]:
    run = measured.runs.get(path)
    return wanted if run is None else wanted & run.missing


def _findings(texts: Mapping[str, str], uncovered: _Wanted) -> list[Finding]:
    found: list[Finding] = []
    for path in sorted(uncovered):
        lines = texts[path].split("\n")
        for line in sorted(uncovered[path]):
            around = "\n".join(each.strip() for each in lines[max(0, line - 2) : line])
            digest = hashlib.sha256(f"tests\0{path}\0{around}".encode("utf-8", "replace"))
            found.append(
                Finding(
                    tool="coverage",
                    rule="not run",
                    path=path,
                    line=line,
                    message="changed lately, and no test runs it",
                    fingerprint=digest.hexdigest()[:32],
                )
            )
    return found[:FINDINGS]


def _report(*, status: Outcome, not_checked: Sequence[str]) -> TaskReport:
    return TaskReport(task=Task.TESTS, status=status, not_checked=tuple(not_checked))
