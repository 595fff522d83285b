"""Levels by semantic versions and PEP 440, and names that cannot become anything else."""

from __future__ import annotations

import pytest

from agent.maintenance.dependencies.versions import (
    Grammar,
    is_name,
    is_version,
    level,
    next_major,
)


@pytest.mark.parametrize(
    ("current", "target", "expected"),
    [
        ("1.2.3", "1.2.4", "patch"),
        ("1.2.3", "1.3.0", "minor"),
        ("1.2.3", "2.0.0", "major"),
        ("v1.2.3", "v1.2.9", "patch"),
        ("2", "2.0.1", "patch"),
        ("21.3", "26.0", "major"),
        ("1.0", "1.0.post1", "patch"),
        ("5.1.3.RELEASE", "5.1.9.RELEASE", "patch"),
        ("1!1.0", "2!1.0", "major"),
        ("1.2.3", "1.2.3", None),
        ("1.2.3", "1.2.2", None),
        ("1.0", "1.0.0", None),
        ("1.2.3", "1.3.0rc1", None),
        ("1.2.3", "1.3.0-beta.2", None),
        ("1.2.3", "2.0.0.dev1", None),
        ("1.2.3", "2.0.0-canary.20250826", None),
        ("2.0.0rc1", "2.0.0rc2", "patch"),
        ("2.0.0-rc.1", "2.0.0", "patch"),
        ("2.0.0rc1", "2.1.0b1", "minor"),
        ("1.0.0+a", "1.0.0+b", None),
        ("latest", "1.0.0", None),
    ],
)
def test_level(current: str, target: str, expected: str | None):
    assert level(current, target) == expected


def test_the_next_major_version():
    assert [next_major(v) for v in ("1.2.3", "0.9", "2!3.1")] == ["2", "1", "2!4"]


@pytest.mark.parametrize("grammar", list(Grammar))
@pytest.mark.parametrize(
    "name",
    [
        "-r other.txt",
        "-e",
        "--index-url",
        "--index-url=http://evil",
        "a b",
        "a;touch x",
        "a$(id)",
        "a`id`",
        "a|b",
        "a&b",
        "a\nb",
        "a\0b",
        "a'b",
        'a"b',
        "../up",
        "/etc/passwd",
        "a@1.0",
        "a==1",
        "https://evil/x.tgz",
        "",
        "x" * 300,
        "é",
        "٣",
    ],
)
def test_no_grammar_lets_an_option_an_address_or_shell_through(name: str, grammar: Grammar):
    assert not is_name(name, grammar)


@pytest.mark.parametrize(
    ("name", "grammar"),
    [
        ("python-slugify", Grammar.PYTHON),
        ("ruamel.yaml", Grammar.PYTHON),
        ("@types/node", Grammar.NPM),
        ("lodash.merge", Grammar.NPM),
        ("github.com/spf13/cobra", Grammar.GO),
        ("gopkg.in/yaml.v3", Grammar.GO),
        ("serde_json", Grammar.CARGO),
        ("rack-test", Grammar.GEM),
        ("org.apache.commons:commons-lang3", Grammar.MAVEN),
    ],
)
def test_the_usual_names_are_names(name: str, grammar: Grammar):
    assert is_name(name, grammar)


@pytest.mark.parametrize("text", ["", "-1", "1 2", "1;2", "$(id)", "1\n2", "../1", "1/2", None, 1])
def test_what_is_no_version(text: object):
    assert not is_version(text)
