"""Which tests a change adds, and whether it does anything else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.difference import LINK, SUBMODULE, FileDiff
from agent.maintenance.lint.change import Change
from agent.maintenance.offlimits import reserved
from agent.tamper import python
from agent.tamper.compare import is_test

_COLLECTED = re.compile(r"(.*/)?(test_[^/]*|[^/]+_test)\.py")


def no_tests(made: Change, paths: Sequence[str], before: Mapping[str, str]) -> dict[str, str]:
    """Of the paths those whose change is more than added tests, and why. `before`: texts of test
    files at the base."""
    diffs = {path: made[path].diff for path in paths if path in made}
    why = {path: _unfit(diffs.get(path), before.get(path, "")) for path in paths}
    return {path: reason for path, reason in why.items() if reason}


def _unfit(diff: FileDiff | None, before: str) -> str:
    if diff is None or diff.new is None or diff.old not in (None, diff.new):
        return "files that are there have to stay"
    if reserved(diff.path, scripts=True) or not is_test(diff.path):
        return "this is no test file, and only tests may be added"
    if not diff.path.endswith(".py"):
        return "only tests in Python are asked for"
    if not _COLLECTED.fullmatch(diff.path) and not _has_tests(diff, before):
        return "a file of tests has to be called `test_….py` or `…_test.py`"
    if diff.binary or {LINK, SUBMODULE} & {diff.old_mode, diff.new_mode}:
        return "this is no text file"
    removed = [each.text for each in diff.removed]
    last = before.rpartition("\n")[2]  # without a line end, it is removed and added again
    if removed and not (removed == [last] and last in {each.text for each in diff.added}):
        return f"lines that are there have to stay, such as line {diff.removed[0].number}"
    return ""


def _has_tests(diff: FileDiff, before: str) -> bool:
    """Did it have some before, whatever it is called?"""
    if diff.old is None:
        return False
    return any(unit.collected for unit in python.suite(diff.path, before).units.values())


#: Of a test: its file, and its name with its classes.
Name = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class New:
    """The tests that were added. `asserting`: those that assert something themselves."""

    names: frozenset[Name]
    asserting: frozenset[Name]

    def of(self, case: str) -> Name | None:
        """The new test that the id of a case means: a path with names, or dotted names."""
        case = re.sub(r"( ?\[| \().*", "", case, flags=re.DOTALL)
        path, names, name = case.partition("::")
        if names:
            return (path, name) if (path, name) in self.names else None
        dotted = ((each, f".{_dotted(each)}") for each in sorted(self.names))
        return next((each for each, d in dotted if case and d.endswith(f".{case}")), None)


def _dotted(name: Name) -> str:
    return f"{name[0].removesuffix('.py')}/{name[1]}".replace("/", ".").replace("::", ".")


def new_tests(before: Mapping[str, str], after: Mapping[str, str]) -> New:
    names: set[Name] = set()
    asserting: set[Name] = set()
    for path, text in after.items():
        old = python.suite(path, before.get(path, "")).units
        for name, unit in python.suite(path, text).units.items():
            if unit.collected and name not in old:
                names.add((path, name))
                if unit.assertions:
                    asserting.add((path, name))
    return New(names=frozenset(names), asserting=frozenset(asserting))
