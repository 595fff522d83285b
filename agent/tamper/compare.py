"""Puts all comparisons of one change together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from agent.difference import FileDiff
from agent.pipeline import Violation, Weakening
from agent.tamper import lines, python
from agent.tamper.ci import is_ci
from agent.tamper.config import configuration, is_config
from agent.tamper.ignores import ignores
from agent.tamper.units import Suite, violation, weaker

#: The text of a file, None when there is none or it cannot be read as text.
Reader = Callable[[str], str | None]

_TEST_PATH = re.compile(
    r"(^|/)(tests?|specs?|__tests__)/|(^|/)(test_|conftest)[^/]*$|[._-](test|spec)s?\.[^/]+$"
    r"|_test\.[^/]+$|(Tests?|IT|Spec)\.[^/]+$|(^|/)tests\.[^/]+$"
)

_RECORDED = re.compile(
    r"(^|/)(__snapshots__|golden)/|\.(snap|golden|approved\.\w+|ambr)$", re.IGNORECASE
)


def weakenings(
    diffs: Sequence[FileDiff], before: Reader, after: Reader, *, ci: Sequence[str] = ()
) -> tuple[Violation, ...]:
    """`before` and `after` are asked for each name in `diffs` that `is_read` tells; `ci`: files
    that the project's CI configuration includes, before or after the change."""
    found = [
        *_ci(diffs, ci),
        *_tests(diffs, before, after),
        *_recorded(diffs),
        *configuration(diffs, before, after),
        *ignores(diffs, after),
    ]
    return tuple(dict.fromkeys(found))


def is_read(path: str) -> bool:
    """Does the comparison need the content of this file?"""
    return path.endswith((".py", ".pyi")) or is_test(path) or is_config(path)


def is_test(path: str) -> bool:
    """May there be tests in it?"""
    if path.endswith(".rs"):
        return True
    return bool(_TEST_PATH.search(path)) and (path.endswith(".py") or bool(lines.language(path)))


def _ci(diffs: Sequence[FileDiff], included: Sequence[str]) -> Iterator[Violation]:
    for diff in diffs:
        named = next((name for name in diff.paths if is_ci(name, included)), None)
        if named:
            detail = "this file decides what CI runs"
            yield violation(Weakening.CI_TOUCHED, named, 0, detail)


def _recorded(diffs: Sequence[FileDiff]) -> Iterator[Violation]:
    """Files that tests compare with."""
    for diff in diffs:
        if diff.old and _RECORDED.search(diff.old) and (diff.removed or not diff.new):
            detail = "a recorded result that tests compare with was changed"
            yield violation(Weakening.EXPECTATION_CHANGED, diff.old, 0, detail)


def _tests(diffs: Sequence[FileDiff], before: Reader, after: Reader) -> Iterator[Violation]:
    pairs: list[tuple[Suite, Suite]] = []
    for diff in diffs:
        if any(is_test(name) for name in diff.paths):
            pairs.append((_suite(diff.old, before), _suite(diff.new, after)))
    yield from weaker(pairs)


def _suite(path: str | None, read: Reader) -> Suite:
    """A file that was renamed away is read, too: its tests are there, and are not collected."""
    text = read(path) if path else None
    if path is None or text is None:
        return Suite(path="", units={})
    if path.endswith(".py"):
        return python.suite(path, text)
    made = lines.suite(path, text)
    if is_test(path):
        return made
    return Suite(path=path, units={n: replace(u, collected=False) for n, u in made.units.items()})
