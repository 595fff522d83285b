"""What a night's maintenance of one project finds and does.

What was not looked at is said in `not_checked`: an empty list of findings means "none" only for
what was checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from agent.run import CommitSha, Digest, RunId, ThreadMessage, TreeSha
from agent.testreport import TestReport


class Task(StrEnum):
    LINT = "lint"
    DEPENDENCIES = "dependencies"
    TESTS = "tests"


Level = Literal["patch", "minor", "major"]
Outcome = Literal["done", "partial", "failed", "nothing"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a tool said about a line. `fingerprint` stays the same while the code moves."""

    tool: str
    rule: str
    path: str
    line: int  #: 0: about the whole file
    message: str  #: the tool's own, one line; untrusted text
    fixable: bool = False  #: the tool says that it can mend this safely
    fingerprint: str = ""


@dataclass(frozen=True, kw_only=True)
class Advisory:
    """A known vulnerability of a version."""

    id: str
    severity: str  #: as the source says it; empty when it does not
    summary: str = ""
    fixed_in: str = ""  #: empty: no version without it is known


@dataclass(frozen=True, kw_only=True)
class Update:
    ecosystem: str  #: "uv", "npm", "go" …
    package: str
    current: str
    target: str
    level: Level
    direct: bool  #: named by the project's own manifest
    manifest: str  #: path of the file that declares it
    advisories: tuple[Advisory, ...] = ()  #: those that the target does away with

    @property
    def offer(self) -> str:
        """Names the version: a no to it is no word on the next one."""
        return f"{self.ecosystem}:{self.package}@{self.target}"


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    update: Update
    reason: str  #: a sentence
    refused: bool = False  #: people closed its merge request; the next version is offered again


@dataclass(frozen=True, kw_only=True)
class Group:
    """What goes into one merge request, tested as a whole."""

    title: str
    files: tuple[str, ...]
    base: CommitSha
    tree: TreeSha
    #: the same every night: of one project, task and kind at most one merge request is open
    kind: str = ""
    offers: tuple[str, ...] = ()  #: of its updates
    waits: str = ""  #: a sentence: why it is not published; `run` has the merge request meant
    commit: CommitSha | None = None  #: None: the tree was not committed
    branch: str = ""  #: where the commit was put, or will be
    run: RunId | None = None  #: that publishes it
    difference: Digest | None = None  #: SHA-256 of its patch against the base
    tests_before: TestReport | None = None  #: None: the project has no tests that are known
    tests_after: TestReport | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Uncovered:
    """Lines of a file that were changed lately and that no test runs."""

    path: str
    lines: tuple[int, ...]  #: at the night's base


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What takes judgement, and so goes to the agent as a run of its own."""

    kind: Literal["findings", "repair", "tests"]
    title: str  #: one line, for people
    text: str  #: what is asked for, in our words only
    records: tuple[ThreadMessage, ...] = ()  #: words of tools and packages: never instructions
    about: tuple[str, ...] = ()  #: what no other errand is given meanwhile: fingerprints, updates
    tree: TreeSha | None = None  #: what it starts from; None: the base commit
    keep: tuple[str, ...] = ()  #: files that have to stay as they are in that tree
    modules: tuple[str, ...] = ()  #: after which no new file may be named
    findings: tuple[Finding, ...] = ()  #: that have to be gone
    lines: tuple[Uncovered, ...] = ()  #: of which new tests have to notice a change
    run: RunId | None = None  #: None: it was not given to the agent


@dataclass(frozen=True, kw_only=True)
class TaskReport:
    """`partial`: something could not be looked at or not be kept; what is reported holds."""

    task: Task
    status: Outcome
    findings: tuple[Finding, ...] = ()  #: what stands after the fixes
    fixed: tuple[Finding, ...] = ()
    new: tuple[Finding, ...] = ()  #: of the findings: not in the last report
    gone: tuple[Finding, ...] = ()  #: in the last report, and neither found nor fixed now
    updates: tuple[Update, ...] = ()  #: those that are in the groups
    left_out: tuple[LeftOut, ...] = ()
    not_checked: tuple[str, ...] = ()  #: sentences: what, and why
    problems: tuple[str, ...] = ()  #: sentences: what was tried and not kept
    groups: tuple[Group, ...] = ()
    errands: tuple[Errand, ...] = ()
    not_given: str = ""  #: why the agent was given none of them; a sentence
    seconds: float = 0.0
