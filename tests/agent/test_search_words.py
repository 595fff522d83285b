"""Expressions and globs, as the tools that people know read them."""

from __future__ import annotations

import re
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.tools.expression import edges, extended
from agent.tools.globs import globs

LINES = (
    "Vec<u8>", "Vec u8", "<div>", "a div b", "#include <stdio.h>", "self->next", "self-next",
    "def add(a, b):", "x = {1: [2]}", "price\t12.50", "a-b_c", "café au lait", "a^b", "]", "-",
    r"C:\new", "interface{}", "${name}", "count12", "", "  ", "foo.bar", "foo/bar", "==", "a[0]",
)  # fmt: skip


def found(option: str, query: str) -> list[str]:
    text = "\n".join(LINES).encode()
    command = ["grep", option, "-e", query]
    done = subprocess.run(command, input=text, capture_output=True, env={"LC_ALL": "C.UTF-8"})
    assert not done.stderr, done.stderr
    return done.stdout.decode().splitlines()


@pytest.mark.parametrize(
    "query",
    [
        r"count\d+", r"\w+\.\w+", r"a\/b|foo\/bar", r"(?:def|class)\s+\w+\(", r".*?12\.50",
        r"a{1,2}", r"[\w-]+_c", r"[\]\[]", r"[^\s\w]$", r"[\d.]+", r"interface{}", r"\$\{name\}",
        r"${", r"^$", r"[-\^]", r"[\^]", r"\\n", r"[\\]", r"\t\d", r"[^\n]+", r"[\s\S]+?]",
        r"^\s*$", r"café\b", r"\{\d: \[", r"[[:digit:]]{2}", r"a[^]]0", r"(a|b)?-", r"\D\W\S",
        "[a-c_]{3}", "[]]", "()x",
    ],
)  # fmt: skip
def test_the_same_lines_match_without_perl(query: str):
    plain = extended(query)
    assert plain is not None
    assert found("-E", plain) == found("-P", f"(*UCP){query}")


@pytest.mark.parametrize(
    "query",
    [
        r"a(?=b)", r"(?<!x)y", r"(a)\1", r"a++", r"\Qa.b\E", r"\p{Lu}", r"[\D]", r"[a-\d]", r"*a",
        r"a**", r"(|*)", r"[[.a.]]", r"[a", "a\\", r"\x41", r"(*UTF)a", r"x|+", r"[+--]",
    ],
)  # fmt: skip
def test_what_takes_perl_is_left_to_it(query: str):
    assert extended(query) is None


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        (r"Vec\<u8\>", ["Vec<u8>"]),
        (r"\<div\>", ["<div>", "a div b"]),
        (r"include \<stdio.h\>", ["#include <stdio.h>"]),
        (r"self-\>next", ["self->next"]),
        (r"\<oun", []),
        (r"oun\>", []),
        (r"\<\w+12\>", ["count12"]),
        (r"\<(def|count)\>", ["def add(a, b):"]),
        (r"[\<]d", ["<div>"]),
        (r"\\new", [r"C:\new"]),
    ],
)
def test_an_edge_of_a_word_and_an_angle_bracket(query: str, lines: list[str]):
    assert found("-P", edges(query)) == lines
    plain = extended(edges(query))
    assert plain is not None
    assert found("-E", plain) == lines


def by_expression(word: str, path: str) -> bool:
    pattern = "".join({"*": "[^/]*", "?": "[^/]"}.get(c) or re.escape(c) for c in word)
    end = "$" if re.search(r"[*?]", word) else ""
    return bool(re.search(pattern + end, path))


@given(st.text("ab/*?.", min_size=1, max_size=7), st.text("ab/.", max_size=10))
def test_a_glob_reaches_to_the_end_and_not_across_folders(word: str, path: str):
    assert globs(word)(path) == by_expression(word, path)


def test_words_and_globs_stand_side_by_side_and_case_is_nothing():
    wanted = globs("Invoice src/*.py")
    assert wanted("lib/SRC/invoice.PY")
    assert not wanted("src/deep/invoice.py")
    assert not wanted("src/store.py")


@pytest.mark.parametrize("query", ["*a*a*a*a*z", "*a" * 300 + "z", "?" * 400 + "z", "a*" * 300])
def test_a_glob_of_many_stars_takes_no_time(query: str):
    wanted = globs(query)
    began = time.process_time()
    for _ in range(50):
        assert not wanted("a" * 240)
    assert time.process_time() - began < 2
