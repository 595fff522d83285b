"""`python -m tests.faults.table` writes docs/faults.md from the marks of the tests; `--check` only
says what is wrong."""

from __future__ import annotations

import contextlib
import io
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest

from tests.faults import cut_points
from tests.faults.cells import CELLS, FAULTS, NOT_RUN, PHASES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"
Cell = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Tried:
    """`quick`: by a test that belongs to `make test`."""

    test: str
    quick: bool


class _Marks:
    """Takes down which test carries which cell, as pytest itself sees it."""

    def __init__(self) -> None:
        self.found: dict[Cell, list[Tried]] = defaultdict(list)
        self.unknown: list[str] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            test = item.nodeid.removeprefix("tests/").partition("[")[0]
            quick = item.get_closest_marker("slow") is None
            for mark in item.iter_markers("cell"):
                fault, phases = mark.args
                for phase in phases:
                    if (fault, phase) not in CELLS:
                        self.unknown.append(f"{test} tries {fault} {phase}: there is no such cell")
                    self.found[fault, phase].append(Tried(test=test, quick=quick))


def marked() -> _Marks:
    """Collects the files that mention a cell; needs a process of its own."""
    files = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if any(mark in path.read_text("utf-8") for mark in ("mark.cell(", "@phases("))
    ]
    marks = _Marks()
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        options = ["--collect-only", "-q", "-p", "no:cacheprovider"]
        code = pytest.main([*options, *files], plugins=[marks])
    if code != pytest.ExitCode.OK:
        raise SystemExit(told.getvalue()[-4000:])
    return marks


def wrong(marks: _Marks) -> list[str]:
    """Each cell has a test or a reason, and not both."""
    tried, excused = set(marks.found), set(NOT_RUN)
    said = {
        "has neither a test nor a reason in cells.py": set(CELLS) - tried - excused,
        "has a test: take its reason out of cells.py": tried & excused,
        "is no cell: take its reason out of cells.py": excused - set(CELLS),
    }
    return marks.unknown + [
        f"{fault} {phase} {what}" for what, cells in said.items() for fault, phase in sorted(cells)
    ]


def page(found: Mapping[Cell, list[Tried]]) -> str:
    quick = {cell for cell, tests in found.items() if any(test.quick for test in tests)}
    lines = [
        "# What is tried to go wrong",
        "",
        "Written by `python -m tests.faults.table` from the marks of the tests: not by hand.",
        "After each scenario of the whole road an oracle holds PostgreSQL, GitLab, Slack and the "
        "repository against each other.",
        "",
        f"Of {len(CELLS)} cells, {len(quick)} are tried in `make test` (●), "
        f"{len(set(found) - quick)} more in `make test-all` (○), "
        f"{len(NOT_RUN)} are not tried (–). An empty cell means nothing.",
        "",
        ", ".join(f"**{letter}** {name}" for letter, name in PHASES.items()) + ".",
        "",
        "| | Fault | " + " | ".join(PHASES) + " |",
        "|--|--|" + ":-:|" * len(PHASES),
    ]
    for fault, (name, _) in FAULTS.items():
        signs = " | ".join(_sign((fault, phase), found, quick) for phase in PHASES)
        lines.append(f"| {fault} | {name} | {signs} |")
    lines += ["", "## Not tried", "", *_not_tried(), "", "## By which tests", ""]
    for fault, (name, _) in FAULTS.items():
        lines += [f"**{fault}** {name}", "", *_tests(fault, found), ""]
    return "\n".join(lines).rstrip("\n") + "\n" + _cut_points()


def _sign(cell: Cell, found: Mapping[Cell, list[Tried]], quick: set[Cell]) -> str:
    if cell in quick:
        return "●"
    if cell in found:
        return "○"
    return "–" if cell in CELLS else " "


def _not_tried() -> list[str]:
    lines = [
        f"- {fault} in {', '.join(phase for (_, phase), _ in each)}: {why}"
        for (fault, why), each in groupby(NOT_RUN.items(), lambda item: (item[0][0], item[1]))
    ]
    return lines or ["Every cell is tried."]


def _tests(fault: str, found: Mapping[Cell, list[Tried]]) -> list[str]:
    by_test: dict[str, dict[str, bool]] = defaultdict(dict)
    for (of, phase), tests in found.items():
        for test in tests if of == fault else ():
            by_test[test.test][phase] = by_test[test.test].get(phase, False) or test.quick
    lines: list[str] = []
    for test, phases in sorted(by_test.items()):
        ran = [f"{p}{'' if phases[p] else ' ○'}" for p in PHASES if p in phases]
        lines.append(f"- `{test}`: {', '.join(ran)}")
    return lines or ["- none"]


def _cut_points() -> str:
    points, fast = cut_points.CUT_POINTS, cut_points.fast
    moments = list(dict.fromkeys(moment for _, moment, _ in points))
    lines = [
        "",
        "## Cut points",
        "",
        f"The service dies or fails at {len(points)} points around its effects; "
        f"{sum(map(fast, points))} of them are tried in `make test` (●).",
        "",
        "| Effect | " + " | ".join(moments) + " |",
        "|--|" + "--|" * len(moments),
    ]
    for effect in dict.fromkeys(effect for effect, _, _ in points):
        ways = [
            ", ".join(p[2] + (" ●" if fast(p) else "") for p in points if p[:2] == (effect, moment))
            for moment in moments
        ]
        lines.append(f"| {effect} | " + " | ".join(ways) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    marks = marked()
    text, problems = page(marks.found), wrong(marks)
    if "--check" in arguments:
        if not PAGE.exists() or PAGE.read_text("utf-8") != text:
            problems.append("docs/faults.md is not up to date: `python -m tests.faults.table`")
    else:
        PAGE.write_text(text, "utf-8")
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
