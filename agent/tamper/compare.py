"""Puts all comparisons of one change together."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence

from agent.difference import FileDiff
from agent.pipeline import Violation, Weakening
from agent.tamper import python
from agent.tamper.ci import is_ci
from agent.tamper.units import Suite, violation, weaker

#: The text of a file, None when there is none or it cannot be read as text.
Reader = Callable[[str], str | None]

_TEST_PATH = re.compile(
    r"(^|/)(tests?|specs?|__tests__)/|(^|/)(test_|conftest)[^/]*$|[._-](test|spec)s?\.[^/]+$"
    r"|_test\.[^/]+$|(Tests?|IT|Spec)\.[^/]+$|(^|/)tests\.[^/]+$"
)


def weakenings(
    diffs: Sequence[FileDiff], before: Reader, after: Reader, *, ci: Sequence[str] = ()
) -> tuple[Violation, ...]:
    """`before` and `after` are asked for each name in `diffs` that `is_read` tells; `ci`: files
    that the project's CI configuration includes, before or after the change."""
    found = [*_ci(diffs, ci), *_tests(diffs, before, after)]
    return tuple(dict.fromkeys(found))


def is_read(path: str) -> bool:
    """Does the comparison need the content of this file?"""
    return path.endswith(".py")


def _ci(diffs: Sequence[FileDiff], included: Sequence[str]) -> Iterator[Violation]:
    for diff in diffs:
        for name in diff.paths:
            if is_ci(name, included):
                detail = "this file decides what CI runs"
                yield violation(Weakening.CI_TOUCHED, name, 0, detail)
                break


def _tests(diffs: Sequence[FileDiff], before: Reader, after: Reader) -> Iterator[Violation]:
    pairs: list[tuple[Suite, Suite]] = []
    for diff in diffs:
        old = _suite(diff.old, before)
        new = _suite(diff.new, after)
        pairs.append((old, new))
    yield from weaker(pairs)


def _suite(path: str | None, read: Reader) -> Suite:
    text = read(path) if path and is_test(path) else None
    if path is None or text is None:
        return Suite(path="", units={})
    return python.suite(path, text)


def is_test(path: str) -> bool:
    return bool(_TEST_PATH.search(path)) and posixpath.splitext(path)[1] == ".py"
