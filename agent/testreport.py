"""The outcome of a project's own tests at one tree, JUnit-shaped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from agent.run import Digest, TreeSha


class CaseStatus(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"  # could not be run: collection, set-up, crash
    SKIPPED = "skipped"


BAD = frozenset({CaseStatus.FAILED, CaseStatus.ERROR})


@dataclass(frozen=True, kw_only=True)
class TestCase:
    """One test. `id` is stable between two runs, for example `tests/test_a.py::test_b`."""

    __test__ = False  # not a test class of pytest's

    id: str
    status: CaseStatus
    message: str = ""  #: first lines of the failure
    path: str = ""  #: file of the failure, relative to the project
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class TestReport:
    """Counts are the runner's own where it gives only those; `cases` may then be empty."""

    __test__ = False

    command: str
    tree: TreeSha | None
    passed: int = 0
    failed: int = 0
    errors: int = 0
    skipped: int = 0
    cases: tuple[TestCase, ...] = ()
    exit_code: int = 0
    seconds: float = 0.0
    stopped: str = (
        ""  #: "timeout", "memory" …: why the sandbox ended it, empty when it ended by itself
    )
    output: Digest | None = None  #: what the runner printed
    no_tests: bool = False  #: the runner found nothing to run; its exit code says nothing then

    @property
    def green(self) -> bool:
        return self.exit_code == 0 and not self.stopped and not (self.failed or self.errors)

    @property
    def bad(self) -> frozenset[str]:
        return frozenset(case.id for case in self.cases if case.status in BAD)

    def new_failures(self, base: TestReport | None) -> tuple[TestCase, ...]:
        """Failures that did not stand at the base commit."""
        before = base.bad if base else frozenset[str]()
        return tuple(case for case in self.cases if case.status in BAD and case.id not in before)

    def without_cases(self) -> TestReport:
        return replace(self, cases=())
