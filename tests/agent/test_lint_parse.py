"""What linters print, read back. Recorded from the tools; those of gofmt, golangci-lint and
rubocop are as their manuals show them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.maintenance.lint.linters import LINTERS
from agent.maintenance.lint.parse import inside, lines, plain, ruff

RECORDED = Path(__file__).parent / "recorded" / "lint"

# file, linter, all places and rules it names, how many it can mend
CASES = [
    (
        "ruff-check.json",
        "ruff check",
        [("a.py", 1, "F401"), ("a.py", 1, "I001"), ("a.py", 3, "F841")],
        2,
    ),
    ("ruff-format.txt", "ruff format", [("a.py", 0, "format")], 1),
    (
        "flake8.txt",
        "flake8",
        [
            *(("a.py", 1, "F401"), ("a.py", 2, "E201"), ("a.py", 2, "E202"), ("a.py", 2, "E302")),
            *(("a.py", 3, "F841"), ("a.py", 5, "E302")),
        ],
        0,
    ),
    ("black.txt", "black", [("a.py", 0, "format")], 1),
    ("mypy.txt", "mypy", [("a.py", 6, "return-value")], 0),
    (
        "eslint.json",
        "eslint",
        [
            *(("b.js", 1, "no-extra-semi"), ("b.js", 2, "eqeqeq"), ("b.js", 2, "no-debugger")),
            ("b.js", 3, "no-undef"),
        ],
        1,
    ),
    (
        "prettier.txt",
        "prettier",
        [(name, 0, "format") for name in ("b.js", "eslint.config.js", "package.json")],
        3,
    ),
    ("gofmt.txt", "gofmt", [("internal/store/store.go", 0, "format"), ("main.go", 0, "format")], 2),
    (
        "golangci-lint.json",
        "golangci-lint run",
        [("internal/store/store.go", 21, "errcheck"), ("main.go", 9, "staticcheck")],
        0,
    ),
    (
        "clippy.json",
        "cargo clippy",
        [
            *(("src/main.rs", 2, "clippy::useless_vec"), ("src/main.rs", 3, "clippy::len_zero")),
            ("src/main.rs", 4, "unused_variables"),
            ("src/main.rs", 6, "clippy::needless_return"),
        ],
        0,
    ),
    (
        "rubocop.json",
        "rubocop",
        [("lib/cart.rb", 3, "Style/StringLiterals"), ("lib/cart.rb", 7, "Lint/UselessAssignment")],
        1,
    ),
    (
        "pre-commit.txt",
        "pre-commit run",
        [
            *((".pre-commit-config.yaml", 0, "fixer"), (".pre-commit-config.yaml", 0, "no-tabs")),
            *(("a.py", 1, "flake"), ("a.py", 2, "flake")),
        ],
        0,
    ),
]


@pytest.mark.parametrize(("file", "name", "places", "fixable"), CASES, ids=[c[1] for c in CASES])
def test_recorded_output_is_read(
    file: str, name: str, places: list[tuple[str, int, str]], fixable: int
):
    linter = next(each for each in LINTERS if each.name == name)
    found = linter.read((RECORDED / file).read_text(encoding="utf-8"), name)
    assert sorted((f.path, f.line, f.rule) for f in found) == places
    assert sum(f.fixable for f in found) == fixable
    assert all(f.message and f.tool == name for f in found)


def test_every_linter_has_recorded_output():
    assert {each.name for each in LINTERS} == {case[1] for case in CASES}


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("./a b;$(id).py", "a b;$(id).py"),
        ("/workspace/src/../a.py", "a.py"),
        ("/etc/passwd", ""),
        ("../../etc/passwd", ""),
        ("/workspace", ""),
        ("/workspace-other/a.py", ""),
    ],
)
def test_a_path_stays_below_the_workspace(path: str, kept: str):
    assert inside(path) == kept


def test_a_message_is_one_plain_line():
    assert plain("a\x1b[31m\u202eb\n\n c\u200b") == "a [31m b c"
    [said] = lines("a.py:3:1: E501 " + "x" * 5_000, "flake8")
    assert (said.rule, said.line, len(said.message)) == ("E501", 3, 300)


@pytest.mark.parametrize("text", ["", "nonsense", '{"a": 1}', '["a"', '{"files": {}}'])
def test_nonsense_is_no_report(text: str):
    with pytest.raises(ValueError):  # noqa: PT011 - any of them is told as one
        ruff(text, "ruff check")
