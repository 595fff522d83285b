"""What the runner itself found before and after the change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.pipeline import Violation, Weakening
from agent.state import RunState
from agent.tamper.units import violation
from agent.testreport import CaseStatus, TestReport

_TOLD = {Weakening.TEST_REMOVED.value, Weakening.TEST_SKIPPED.value}


def fewer(state: RunState, found: Sequence[Violation]) -> Iterator[Violation]:
    """Tests that are no longer found, or are skipped, where the files do not tell why."""
    before, after = state.tests_base, state.tests_change
    tree = state.checkpoint.tree if state.checkpoint else None
    if before is None or after is None or before.command != after.command or after.tree != tree:
        return
    if before.stopped or after.stopped or any(each.rule in _TOLD for each in found):
        return
    had, has = _ran(before), _ran(after)
    if has >= had:
        return
    skipped = after.skipped - before.skipped
    rule = Weakening.TEST_SKIPPED if skipped > 0 else Weakening.TEST_REMOVED
    detail = f"the runner ran {had} tests before the change and {has} with it"
    if names := _missing(before, after):
        detail += f", without {', '.join(f'`{name}`' for name in names[:3])}"
    yield violation(rule, "", 0, detail)


def _ran(report: TestReport) -> int:
    return report.passed + report.failed + report.errors


def _missing(before: TestReport, after: TestReport) -> list[str]:
    ran = {case.id for case in after.cases if case.status is not CaseStatus.SKIPPED}
    return [c.id for c in before.cases if c.status is not CaseStatus.SKIPPED and c.id not in ran]
