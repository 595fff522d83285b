"""A task with a known answer, as SWE-bench writes them, and what a run made of it."""

from __future__ import annotations

from dataclasses import dataclass, field

NAMED = 20  #: tests that a share lists by name


@dataclass(frozen=True, kw_only=True)
class Instance:
    """`digest` is another one when anything that decides about the result is."""

    id: str
    repo: str  #: a path, or `owner/name` to be looked up
    base: str  #: the commit that the task begins at, as its whole id
    problem: str = field(repr=False)
    test_patch: str = field(repr=False)
    fail_to_pass: tuple[str, ...] = field(repr=False)
    pass_to_pass: tuple[str, ...] = field(repr=False)
    test_command: str | None = None  #: None: found by looking at the project
    digest: str = ""


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many of the named tests passed; `others` are the first of those that did not."""

    passed: int
    of: int
    others: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return self.passed == self.of


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`problem`: why the task could not be tried or judged; it is tried again the next time."""

    instance: str
    digest: str
    problem: str = ""
    run: int = 0
    status: str = ""  #: the run's own word
    reason: str = ""
    patch: str = ""  #: against the base, tests of the run included
    fail_to_pass: Share | None = None
    pass_to_pass: Share | None = None
    weakened: tuple[str, ...] = ()  #: what the run did to the project's tests, one sentence each
    missing: str = ""  #: which packages were not there when its tests failed
    steps: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    money: float = 0.0  #: US dollars; 0 when the price is unknown
    seconds: float = 0.0  #: of the run
    judging: float = 0.0  #: seconds of the tests afterwards

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def solved(self) -> bool:
        shares = (self.fail_to_pass, self.pass_to_pass)
        return not self.problem and all(share and share.whole for share in shares)

    @property
    def false_done(self) -> bool:
        """It said that it had succeeded, and what was to be mended still fails."""
        share = self.fail_to_pass
        return self.status == "succeeded" and share is not None and not share.whole
