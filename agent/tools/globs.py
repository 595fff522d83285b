"""Words and globs that a path is looked for with, in time that grows with its length alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence


def globs(query: str) -> Callable[[str], bool]:
    """Every word is part of the path; one with `*` or `?` reaches to its end. Case is nothing."""
    plain, patterns = list[str](), list[list[re.Pattern[str]]]()
    for word in query.lower().split():
        if "*" in word or "?" in word:
            patterns.append([_backwards(part) for part in reversed(word.split("*"))])
        else:
            plain.append(word)

    def matches(path: str) -> bool:
        path = path.lower()
        if not all(word in path for word in plain):
            return False
        return all(_ends(path[::-1], parts) for parts in patterns)

    return matches


def _backwards(part: str) -> re.Pattern[str]:
    """Of fixed length: nothing is tried twice."""
    return re.compile("".join("[^/]" if c == "?" else re.escape(c) for c in reversed(part)))


def _ends(path: str, parts: Sequence[re.Pattern[str]]) -> bool:
    """From the end of the path each part is taken where it stands first: that leaves most room
    for the others, and the shortest way that may hold no `/`."""
    last, *others = parts
    found = last.match(path)
    at = found.end() if found else 0
    for part in others if found else ():
        if not part.pattern:
            continue
        found = part.search(path, at)
        if found is None or "/" in path[at : found.start()]:
            return False
        at = found.end()
    return found is not None
