"""Each mutant is the program made wrong in one place, and only there."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from agent.maintenance.coverage.mutants import mutants, neutral
from agent.maintenance.coverage.sources import statements


def changes(source: str, *lines: int) -> list[tuple[str, str]]:
    found = mutants("calc.py", source, lines or range(1, 100))
    return [(each.before, each.after) for each in found]


@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("return a < b", "return a >= b"),
        ("return a in b", "return a not in b"),
        ("return a and b", "return a or b"),
        ("return not a", "return not not a"),
        ("return a + b", "return a - b"),
        ("return a if b else 1", "return a if not b else 1"),
        ("return True", "return False"),
        ("return None", "return 1"),
        ("return f(a)", "return None"),
        ("return lambda: a * b", "return lambda: a // b"),
        ("if a: f()", "if not a:"),
        ("for x in a: f()", "for x in ():"),
        ("while a: f()", "while not a:"),
        ("with f(a == b): g()", "with f(a != b):"),
        ("a += b", "a -= b"),
        ("a |= b", "pass"),
        ("raise ValueError(a)", "pass"),
        ("f(a)", "pass"),
        ("x = a", "x = None"),
        ("x: int = a", "x: int = None"),
        ("del a.b", "pass"),
    ],
)
def test_a_statement_is_made_wrong(line: str, after: str):
    assert changes(f"def f(a, b):\n    {line}\n", 2)[0][1] == after


@pytest.mark.parametrize(
    "source",
    [
        "import os\n",
        "def f(): pass\n",
        "'''What it is.'''\n",
        "class A: ...\n",
        "return a +\n",
        "\0",
    ],
)
def test_what_no_test_can_do_without_is_left_alone(source: str):
    assert changes(source) == []


def test_one_place_is_wrong_at_a_time():
    source = "def f(a, b):\n    x = a + b\n    return x > 1\n"
    plain = ast.unparse(ast.parse(source))
    made = [each.source for each in mutants("calc.py", source, {2, 3})]
    assert len(made) == len(set(made)) == 4
    for each in made:
        pairs = zip(plain.splitlines(), each.splitlines(), strict=True)
        assert sum(one != other for one, other in pairs) == 1


def test_every_statement_comes_before_any_comes_again():
    source = "def f(a, b):\n    x = a + b\n    return x > 1\n"
    lines = [each.line for each in mutants("calc.py", source, {2, 3})]
    assert lines == [2, 3, 2, 3]


def test_lines_that_were_not_asked_for_stay():
    source = "def f(a):\n    if a:\n        a += 1\n    return a\n"
    assert changes(source, 3) == [("a += 1", "a -= 1")]


def test_a_tree_that_is_too_deep_has_no_mutants():
    deep = f"x = {'-' * 100_000}1\n"
    assert changes(deep) == []
    assert neutral(deep) is None
    assert statements(deep) == {}


def test_the_neutral_program_does_the_same_and_neither_its_text_nor_its_tree_is_the_same():
    source = (
        '"""Doc."""\nfrom __future__ import annotations\ndef f(a):\n    "It."\n    return (a)\n'
    )
    plain = neutral(source)
    assert plain is not None
    there: dict[str, Any] = {}
    exec(compile(plain, "calc.py", "exec"), there)
    assert (there["__doc__"], there["f"].__doc__, there["f"](3)) == ("Doc.", "It.", 3)
    old, new = ast.parse(source).body, ast.parse(plain).body
    assert ast.dump(old[-1]) != ast.dump(new[2])
    assert len(new) > len(old)


def test_lines_of_a_statement_count_for_its_first():
    source = '''"""Doc."""
def f(a):
    """Doc."""
    if (a and
            a > 1):
        return [
            a,
        ]
    else:
        pass
'''
    assert statements(source) == {2: 2, 4: 4, 5: 4, 6: 6, 7: 6, 8: 6}
