"""Runs a project's tests in a sandbox and reads what came of them.

The report leaves the sandbox in a folder of its own, read without following links and with
limits: what is in it was written by the project under test.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent import jsresults, junit, testoutput
from agent.ports import Box, CommandLimits, CommandResult, Mount
from agent.runners import ENVIRONMENT, REPORT, Runner, TestCommand
from agent.testoutput import Parsed
from agent.testreport import BAD, CaseStatus, TestCase, TestReport

OUTPUT = 4 * 2**20  #: bytes of output in which results are looked for, the last ones
FILES = 3_000  #: report files read
LAST_WORDS = 15  #: seconds for a runner that was interrupted
#: The most failures that a report carries into the log; passing tests are only counted there.
CASES = 2_000

_INTERRUPTED = re.compile(
    r"^(?:/workspace/)?(?P<path>[^\s:/][^\s:]*):(?P<line>\d+): KeyboardInterrupt", re.MULTILINE
)
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-_])")


@dataclass(frozen=True, kw_only=True)
class Tests:
    """`output` is what the runner printed, cut in the middle; `report.output` is its digest."""

    __test__ = False

    report: TestReport
    output: str


async def run_tests(
    box: Box,
    folder: Path,
    command: TestCommand,
    *,
    limits: CommandLimits,
    mounts: Sequence[Mount] = (),
    env: dict[str, str] | None = None,
    files: Collection[str] = (),
    cases: int = CASES,
) -> Tests:
    """`folder` is an empty one from `Sandbox.new_folder`, to be removed by the caller. `cases`:
    how many tests the report lists, failures first."""
    printed = _Tail(OUTPUT)
    allowed = limits.seconds
    result = await box.exec(
        # interrupted, a runner still writes down what it has found; killed, it does not
        ["timeout", "-s", "INT", "-k", f"{LAST_WORDS}", f"{allowed}", "bash", "-c", command.script],
        env={**(env or {}), **ENVIRONMENT},
        limits=replace(limits, seconds=allowed + LAST_WORDS + 5),
        mounts=[*mounts, Mount(source=folder, target=REPORT, writable=True)],
        on_output=printed.add,
    )
    if result.exit_code in (124, 137) and not result.stopped and result.seconds >= allowed:
        result = replace(result, stopped="timeout")
    report = await asyncio.to_thread(
        _report, command, result, bytes(printed.data), _read_folder(folder), files, cases
    )
    digest = hashlib.sha256(result.output.encode("utf-8", "replace")).hexdigest()
    return Tests(report=replace(report, output=digest), output=result.output)


def _report(
    command: TestCommand,
    result: CommandResult,
    printed: bytes,
    written: dict[str, bytes],
    files: Collection[str],
    most: int,
) -> TestReport:
    text = _ESCAPES.sub("", printed.decode("utf-8", "replace")).replace("\r\n", "\n")
    parsed = read_results(command, text, written, files)
    cases = junit.merged(_interrupted(command, result, parsed.cases, text))
    counts = parsed.counts or Counter(case.status for case in cases)
    bad = [case for case in cases if case.status in BAD]
    rest = [case for case in cases if case.status not in BAD]
    return TestReport(
        command=command.text,
        tree=None,
        passed=counts[CaseStatus.PASSED],
        failed=counts[CaseStatus.FAILED],
        errors=counts[CaseStatus.ERROR],
        skipped=counts[CaseStatus.SKIPPED],
        cases=tuple([*bad, *rest][:most]),
        exit_code=result.exit_code,
        seconds=result.seconds,
        stopped=result.stopped,
        no_tests=_nothing_ran(command.runner, result, counts, text, parsed.found),
    )


def _interrupted(
    command: TestCommand, result: CommandResult, cases: Sequence[TestCase], text: str
) -> list[TestCase]:
    """pytest lists the test in which it was interrupted last, without a name and as if it had
    passed; where it was, is in what it printed."""
    if result.stopped != "timeout" or command.runner is not Runner.PYTEST:
        return list(cases)
    where = _INTERRUPTED.search(text)
    path, line = (where["path"], int(where["line"])) if where else ("", 0)
    hung = TestCase(
        id=f"{path}::(did not end)" if path else command.text,
        status=CaseStatus.ERROR,
        message="It did not end: the tests were stopped here.",
        path=path,
        line=line,
    )
    return [*(case for case in cases if case.id.strip(":")), hung]


def read_results(
    command: TestCommand, text: str, written: dict[str, bytes], files: Collection[str] = ()
) -> Parsed:
    """From the files that were written, else from what was printed."""
    if "jest.json" in written:
        return jsresults.jest(written["jest.json"])
    if "mocha.json" in written:
        return jsresults.mocha(written["mocha.json"])
    cases: list[TestCase] = []
    for name, data in written.items():
        if ".xml" in name:
            try:
                cases += junit.parse(data, files)
            except junit.BadReport as problem:
                broken = TestCase(id=name, status=CaseStatus.ERROR, message=str(problem))
                cases.append(broken)
    if cases or "pytest.xml" in written:
        return Parsed(cases=cases, found=True)
    match command.runner:
        case Runner.UNITTEST:
            return testoutput.unittest(text)
        case Runner.GO:
            return testoutput.go(text, command.module)
        case Runner.CARGO:
            return testoutput.cargo(text)
        case _:
            tap = jsresults.tap(text)
            return tap if tap.found else testoutput.anything(text)


def _nothing_ran(
    runner: Runner, result: CommandResult, counts: Counter[CaseStatus], text: str, found: bool
) -> bool:
    if counts.total() or result.stopped:
        return False
    if runner is Runner.PYTEST:
        return result.exit_code == 5
    if result.exit_code not in (0, 5):
        return "No tests found" in text or "No test files found" in text
    return found or "no test files" in text or "No tests to run" in text


def _read_folder(folder: Path) -> dict[str, bytes]:
    """Regular files only, opened without following links or waiting for a writer."""
    found: dict[str, bytes] = {}
    left = junit.SIZE
    names = sorted(entry.name for entry in folder.iterdir())
    for name in names[:FILES]:
        if name == "began":
            continue
        try:
            descriptor = os.open(
                folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            )
        except OSError:
            continue  # a link, or taken away: not a report
        try:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_size <= left:
                with os.fdopen(os.dup(descriptor), "rb") as file:
                    found[name] = file.read(left)
                left -= len(found[name])
        finally:
            os.close(descriptor)
    return found


class _Tail:
    """The last bytes of what a command prints."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.data = bytearray()

    def add(self, chunk: bytes) -> None:
        self.data += chunk
        if len(self.data) > 2 * self._limit:
            del self.data[: -self._limit]


def described(
    report: TestReport, failing: Sequence[TestCase], lines: dict[str, Sequence[str]], *, limit: int
) -> str:
    """Failures as the model reads them: message, and the code around the failing line from
    `lines` (path to the file's lines), at most `limit` characters."""
    parts: list[str] = []
    room = limit
    for number, case in enumerate(failing):
        where = f" ({case.path}:{case.line})" if case.path and case.line else ""
        part = f"{case.status.upper()} {case.id}{where}\n{_short(case.message, 1_500)}"
        if code := _around(lines.get(case.path, ()), case.line):
            part += f"\n{case.path}:\n{code}"
        if len(part) > room:
            parts.append(f"… and {len(failing) - number} more failing tests")
            break
        parts.append(part)
        room -= len(part)
    if not parts and not report.green:
        why = f"stopped: {report.stopped}" if report.stopped else f"exit code {report.exit_code}"
        parts.append(f"The command failed ({why}) and named no failing test.")
    return "\n\n".join(parts)


def _around(lines: Sequence[str], line: int, reach: int = 5) -> str:
    if not 0 < line <= len(lines):
        return ""
    first = max(1, line - reach)
    shown = enumerate(lines[first - 1 : line + reach], first)
    return "\n".join(f"{'>' if n == line else ' '}{n:5} {text[:200]}" for n, text in shown)


def _short(message: str, limit: int) -> str:
    if len(message) <= limit:
        return message
    return f"{message[: limit // 3]}\n…\n{message[-limit * 2 // 3 :]}"
