"""What the agent is asked for: tests of a few files, for lines that no test runs."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Collection, Sequence

from agent.maintenance.night import Errand, Finding, Uncovered
from agent.prompt import clean
from agent.runners import TestCommand
from agent.tamper.compare import is_test

FILES = 3
LINES = 40  #: of one file
COMMAND = 400
NAMED = 5  #: files with tests

RULES = """\
Only test files may be added, or get more tests. Nothing else may be changed: no line of the \
program, no configuration, no `conftest.py`, no test that is there. The tests have to pass on the \
program as it is: where it seems wrong, leave that line out. They are tried on the program with \
one line after the other made wrong: each new test has to fail on at least one of these, and may \
not look at the text of the program. A few tests that say what the program promises are wanted, \
not many. Nobody can be asked."""


def errands(
    found: Sequence[Finding],
    command: TestCommand,
    paths: Sequence[str],
    *,
    given: Collection[str],
) -> tuple[Errand, ...]:
    """One at most. `found`: a line each; `given`: fingerprints of what the agent has, or came to
    nothing with lately."""
    left = [each for each in found if each.fingerprint not in given]
    most = Counter(each.path for each in left).most_common()
    files = sorted(path for path, _ in sorted(most, key=lambda m: (-m[1], m[0]))[:FILES])
    if not files:
        return ()
    chosen: list[Finding] = []
    for path in files:
        chosen += sorted((e for e in left if e.path == path), key=lambda e: e.line)[:LINES]
    lines = tuple(
        Uncovered(path=path, lines=tuple(each.line for each in chosen if each.path == path))
        for path in files
    )
    return (_errand(lines, chosen, command, paths),)


def _errand(
    lines: Sequence[Uncovered],
    chosen: Sequence[Finding],
    command: TestCommand,
    paths: Sequence[str],
) -> Errand:
    count = f"{len(chosen)} changed line{'s' if len(chosen) > 1 else ''}"
    where = f"{len(lines)} file{'s' if len(lines) > 1 else ''}"
    places = "\n".join(f"- `{each.path}`: {spans(each.lines)}" for each in lines)
    homes = "\n".join(f"- tests of `{each.path}`: {_home(each.path, paths)}" for each in lines)
    run = " ".join(clean(command.text).replace("`", "'").split())[:COMMAND]
    return Errand(
        kind="tests",
        title=f"Test {count} in {where}",
        text=(
            f"Write tests for lines that were changed lately and that no test runs:\n{places}\n\n"
            f"{RULES}\n\nWhere tests live:\n{homes}\n\nThey are run with `{run}`.\n"
        ),
        about=tuple(each.fingerprint for each in chosen),
        lines=tuple(lines),
    )


def spans(lines: Sequence[int]) -> str:
    """For example "line 3" or "lines 3 to 5, 9"."""
    parts: list[list[int]] = []
    for line in sorted(lines):
        if parts and line == parts[-1][1] + 1:
            parts[-1][1] = line
        else:
            parts.append([line, line])
    told = ", ".join(f"{a} to {b}" if b > a else f"{a}" for a, b in parts)
    return f"line{'s' if len(lines) > 1 else ''} {told}"


def _home(path: str, paths: Sequence[str]) -> str:
    """Where tests of a module are, or would be looked for."""
    stem = posixpath.basename(path.removesuffix("/__init__.py")).partition(".")[0]
    mine = re.compile(rf"(^|[._-]){re.escape(stem)}([._-]|$)")
    tests = [each for each in paths if is_test(each) and each.endswith(".py")]
    tests = [each for each in tests if posixpath.basename(each) != "conftest.py"]
    named = [each for each in tests if mine.search(posixpath.basename(each))]
    if named:
        return ", ".join(f"`{_word(each)}`" for each in sorted(named)[:NAMED])
    folders = Counter(posixpath.dirname(each) or "." for each in tests).most_common(1)
    return f"none by that name; most tests are in `{_word(folders[0][0])}`" if folders else "none"


def _word(text: str) -> str:
    return " ".join(clean(text).replace("`", "'").split())[:200]
