"""Paths against patterns as in .gitignore, without its negations."""

from __future__ import annotations

import re
import unicodedata
from functools import cache


def matches(pattern: str, path: str, *, folded: bool = False) -> bool:
    """A pattern with a slash before its end begins at the top; one without is found at any
    depth; what names a folder covers everything below it. `folded`: names that a file system
    without case would take for the same are the same."""
    if folded:
        pattern, path = fold(pattern), fold(path)
    return bool(_compiled(pattern).fullmatch(path))


def fold(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    body = pattern.removesuffix("/")
    anchored = "/" in body
    parts = body.lstrip("/").split("/")
    if not anchored:
        parts = ["**", *parts]
    made = ""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            made += ".+" if last else "(?:.*/)?"
        else:
            made += _part(part) + ("" if last else "/")
    below = "(?:/.*)?"
    if pattern.endswith("/"):
        below = "/.*"
    return re.compile(made + below, re.DOTALL)


def _part(part: str) -> str:
    made, position = "", 0
    while position < len(part):
        char = part[position]
        position += 1
        if char == "*":
            made += "[^/]*"
        elif char == "?":
            made += "[^/]"
        elif char == "[" and (end := part.find("]", position + 1)) > 0:
            inside = part[position:end].replace("\\", "\\\\").replace("[", "\\[")
            negated = inside[:1] in ("!", "^")
            made += f"(?!/)[{'^' if negated else ''}{inside[negated:]}]"
            position = end + 1
        elif char == "\\" and position < len(part):
            made += re.escape(part[position])
            position += 1
        else:
            made += re.escape(char)
    return made
