"""What a change did to the project's tests."""

from __future__ import annotations

from agent.testreport import CaseStatus, TestCase, TestReport


def regressions(base: TestReport | None, change: TestReport) -> tuple[TestCase, ...]:
    """Failures that did not stand at the base commit. Where the runner names no failing test,
    the whole command counts as one."""
    new = change.new_failures(base)
    if new or change.green:
        return new
    if change.no_tests:
        worse = base is not None and not base.no_tests
    elif change.stopped:
        worse = base is None or not base.stopped
    elif change.bad:
        worse = False  # all of them failed before
    else:
        worse = base is None or base.green or _bad(change) > _bad(base)
    if not worse:
        return ()
    why = f"stopped: {change.stopped}" if change.stopped else f"exit code {change.exit_code}"
    told = "It finds no test any more." if change.no_tests else f"The command failed, {why}."
    return (TestCase(id=change.command, status=CaseStatus.ERROR, message=told),)


def _bad(report: TestReport) -> int:
    return report.failed + report.errors
