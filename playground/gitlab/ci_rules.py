"""Expressions of `rules:if`, globs of `changes` and `exists`, and `$VARIABLES` in texts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TOKEN = re.compile(
    r"""\s*(?:(?P<op>&&|\|\||==|!=|=~|!~|\(|\)|!)|(?P<null>null\b)|\$(?:\{(?P<braced>\w+)\}|(?P<var>\w+))"""
    r"""|"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<regex>/(?:\\.|[^/\\])+/[a-z]*))"""
)


class RuleError(Exception):
    """An expression that GitLab could not read either."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$A`, `${A}` and `%A%` replaced; `$$` is a dollar sign."""

    def value(found: re.Match[str]) -> str:
        if found.group(0) == "$$":
            return "$"
        return variables.get(found.group(1) or found.group(2), "")

    return re.sub(r"\$\$|\$\{(\w+)\}|\$(\w+)", value, text)


def holds(expression: str, variables: Mapping[str, str]) -> bool:
    return bool(_Parser(expression, variables).whole())


@dataclass(frozen=True)
class _Regex:
    pattern: re.Pattern[str]


def _regex(text: str) -> _Regex:
    body, _, flags = text[1:].rpartition("/")
    try:
        return _Regex(re.compile(body, re.IGNORECASE if "i" in flags else 0))
    except re.error as problem:
        raise RuleError(f"invalid expression syntax: {problem}") from problem


class _Parser:
    """`||` binds loosest, then `&&`, then comparisons."""

    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self.variables = variables
        self.tokens = _tokens(text)
        self.position = 0

    def whole(self) -> Any:
        value = self.either()
        if self.position != len(self.tokens):
            raise RuleError("invalid expression syntax")
        return value

    def take(self, *operators: str) -> str | None:
        if self.position < len(self.tokens):
            kind, value = self.tokens[self.position]
            if kind == "op" and value in operators:
                self.position += 1
                return value
        return None

    def either(self) -> Any:
        value = self.both()
        while self.take("||"):
            other = self.both()
            value = bool(value) or bool(other)
        return value

    def both(self) -> Any:
        value = self.comparison()
        while self.take("&&"):
            other = self.comparison()
            value = bool(value) and bool(other)
        return value

    def comparison(self) -> Any:
        if self.take("!"):
            return not self.comparison()
        left = self.operand()
        operator = self.take("==", "!=", "=~", "!~")
        if operator is None:
            return left
        right = self.operand()
        if operator in ("==", "!="):
            return (left == right) == (operator == "==")
        if isinstance(right, str) and right.startswith("/"):
            right = _regex(right)
        found = isinstance(right, _Regex) and bool(right.pattern.search(left or ""))
        return found == (operator == "=~")

    def operand(self) -> Any:
        if self.take("("):
            value = self.either()
            if not self.take(")"):
                raise RuleError("invalid expression syntax")
            return value
        if self.position >= len(self.tokens) or self.tokens[self.position][0] == "op":
            raise RuleError("invalid expression syntax")
        kind, value = self.tokens[self.position]
        self.position += 1
        match kind:
            case "null":
                return None
            case "var" | "braced":
                return self.variables.get(value)
            case "regex":
                return _regex(value)
            case _:
                return value


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    text = text.strip()
    while position < len(text):
        found = TOKEN.match(text, position)
        if found is None or found.lastgroup is None:
            raise RuleError("invalid expression syntax")
        tokens.append((found.lastgroup, found.group(found.lastgroup)))
        position = found.end()
        while position < len(text) and text[position].isspace():
            position += 1
    return tokens


def glob(pattern: str) -> re.Pattern[str]:
    """`*` stays inside a folder, `**/` crosses them, `{a,b}` chooses."""
    result, position, depth = "", 0, 0
    while position < len(pattern):
        rest = pattern[position:]
        if rest.startswith("**/"):
            result, position = result + "(?:.*/)?", position + 3
        elif rest.startswith("**"):
            result, position = result + ".*", position + 2
        else:
            letter, position = pattern[position], position + 1
            depth += (letter == "{") - (letter == "}" and depth > 0)
            result += {"*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")"}.get(letter) or (
                "|" if letter == "," and depth else re.escape(letter)
            )
    return re.compile(result)


def any_match(patterns: Sequence[str], paths: Sequence[str], variables: Mapping[str, str]) -> bool:
    globs = [glob(expand(pattern, variables).lstrip("/")) for pattern in patterns]
    return any(each.fullmatch(path) for each in globs for path in paths)
