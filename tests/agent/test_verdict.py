"""Which failures count against a change."""

from __future__ import annotations

import pytest

from agent.testreport import CaseStatus, TestCase, TestReport
from agent.verdict import regressions

A = TestCase(id="a", status=CaseStatus.FAILED)
B = TestCase(id="b", status=CaseStatus.ERROR)
GREEN = TestReport(command="make test", tree=None, passed=2)
RED = TestReport(command="make test", tree=None, failed=1, exit_code=1, cases=(A,))
SILENT = TestReport(command="make test", tree=None, exit_code=2)
SLOW = TestReport(command="make test", tree=None, exit_code=137, stopped="timeout")
NONE = TestReport(command="make test", tree=None, exit_code=5, no_tests=True)


@pytest.mark.parametrize(
    ("base", "change", "ids"),
    [
        (GREEN, GREEN, []),
        (GREEN, RED, ["a"]),
        (None, RED, ["a"]),
        (RED, RED, []),  # it stood before
        (RED, TestReport(command="c", tree=None, exit_code=1, cases=(A, B)), ["b"]),
        (GREEN, SILENT, ["make test"]),  # the command fails and names no test
        (SILENT, SILENT, []),
        (GREEN, SLOW, ["make test"]),
        (SLOW, SLOW, []),
        (GREEN, NONE, ["make test"]),  # the tests are gone
        (NONE, NONE, []),
        (None, NONE, []),
    ],
)
def test_only_what_is_new_counts(base: TestReport | None, change: TestReport, ids: list[str]):
    assert [case.id for case in regressions(base, change)] == ids
