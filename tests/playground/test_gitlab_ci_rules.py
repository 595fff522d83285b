"""Expressions, globs, durations and configurations, without running anything."""

from __future__ import annotations

import pytest

from playground.gitlab import ci_config
from playground.gitlab.ci_config import ConfigError, seconds
from playground.gitlab.ci_rules import RuleError, expand, glob, holds

VARIABLES = {"A": "a", "EMPTY": "", "BRANCH": "feature/x", "PATTERN": "/^fea/"}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("$A", True),
        ("$EMPTY", False),
        ("$MISSING", False),
        ("$MISSING == null", True),
        ("$EMPTY == null", False),
        ('$A == "a"', True),
        ("$A != 'a'", False),
        ("$A == $A", True),
        ("$BRANCH =~ /^feature/", True),
        ("$BRANCH =~ /^FEATURE/i", True),
        ("$BRANCH !~ /^main$/", True),
        ("$BRANCH =~ $PATTERN", True),
        ('$A == "b" || $A == "a" && $EMPTY', False),
        ('($A == "b" || $A == "a") && $BRANCH', True),
        ('"a" == $A', True),
        ("${A} == 'a'", True),
    ],
)
def test_expressions(expression: str, expected: bool) -> None:
    assert holds(expression, VARIABLES) is expected


@pytest.mark.parametrize("expression", ["$A ==", "== $A", "$A $A", "($A", "$A =~ /(/", "a"])
def test_expressions_that_cannot_be_read(expression: str) -> None:
    with pytest.raises(RuleError):
        holds(expression, VARIABLES)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*.py", "a.py", True),
        ("*.py", "src/a.py", False),
        ("**/*.py", "a.py", True),
        ("**/*.py", "src/deep/a.py", True),
        ("docs/**/*", "docs/a/b.md", True),
        ("src/*.{js,ts}", "src/a.ts", True),
        ("src/?.js", "src/ab.js", False),
        ("Dockerfile", "Dockerfile", True),
        ("a+b.txt", "a+b.txt", True),
    ],
)
def test_globs(pattern: str, path: str, expected: bool) -> None:
    assert bool(glob(pattern).fullmatch(path)) is expected


def test_variables_in_texts() -> None:
    assert expand("$A-${A}-$$A-$NO.", VARIABLES) == "a-a-$A-."


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2 hours", 7200), ("1h 30m", 5400), ("90 seconds", 90), ("1 week", 604800), (5, 5)],
)
def test_durations(text: str | int, expected: float) -> None:
    assert seconds(text) == expected


async def _read(text: str, **files: str) -> ci_config.Config:
    async def read_file(path: str) -> str | None:
        return files.get(path)

    return await ci_config.read(text, read_file)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1, 2]", "Invalid configuration format"),
        ("a: {b", "Invalid configuration format"),
        ("variables: {A: b}", "at least one visible job"),
        ("a: {stage: test}", "should implement a script"),
        ("a: {script: x, stage: nope}", "chosen stage nope does not exist"),
        ("a: {script: x, surprise: 1}", "unknown keys: surprise"),
        ("a: {script: x, needs: [b]}", "undefined need: b"),
        ("a: {script: x, needs: [b]}\nb: {script: x, needs: [a]}", "circular"),
        ("a: {script: x, extends: .no}", ".no"),
        (".x: {extends: .y}\n.y: {extends: .x}\na: {script: x, extends: .x}", "circular"),
        ("a: {script: [!reference [.no, script]]}", "could not be found"),
        ("include: /gone.yml\na: {script: x}", "does not exist"),
        ("include: {remote: 'https://example.com/x.yml'}\na: {script: x}", "not supported"),
    ],
)
async def test_configurations_that_gitlab_refuses(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        await _read(text)


async def test_defaults_and_inheritance() -> None:
    config = await _read(
        """
        default: {before_script: [setup], retry: 1}
        own: {script: x}
        plain: {script: [x, [y, z]], inherit: {default: [retry]}}
        """
    )
    own, plain = config.jobs
    assert (own.before_script, own.retry_max) == (("setup",), 1)
    assert (plain.before_script, plain.script, plain.retry_max) == ((), ("x", "y", "z"), 1)
