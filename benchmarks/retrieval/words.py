"""Exact search by programs that everybody has, a call a word, files ordered by what they count."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import log
from pathlib import Path

from agent.retrieval.lexical import idf
from agent.retrieval.tokens import STOP_WORDS
from benchmarks.retrieval.scene import Place, Scene

MOST = 100

Counts = Mapping[str, Mapping[str, int]]  # by word, of each path
Order = Callable[[Sequence[int], Sequence[float]], tuple[float, ...]]

RIPGREP = (
    *("rg", "--no-config", "--ignore-case", "--fixed-strings", "--count-matches", "--null"),
    *("--with-filename", "--hidden", "--no-ignore", "--no-messages"),
)
GIT_GREP = (
    *("git", "grep", "--no-index", "--no-exclude-standard", "--ignore-case"),
    *("--fixed-strings", "--count", "--null"),
)


def asked(query: str) -> list[str]:
    words = [word for word in re.findall(r"\w+", query.lower()) if len(word) > 2]
    return [word for word in dict.fromkeys(words) if word not in STOP_WORDS]


def counts(command: Sequence[str], words: Sequence[str], folder: Path) -> Counts:
    found: dict[str, Mapping[str, int]] = {}
    for word in words:
        done = subprocess.run([*command, "-e", word, "."], cwd=folder, capture_output=True)
        each = (line.rsplit("\0", 1) for line in done.stdout.decode("utf-8", "replace").split("\n"))
        found[word] = {path.removeprefix("./"): int(n) for path, n in (e for e in each if e[1:])}
    return found


def total(matches: Sequence[int], rarity: Sequence[float]) -> tuple[float, ...]:
    return (float(sum(matches)),)


def distinct(matches: Sequence[int], rarity: Sequence[float]) -> tuple[float, ...]:
    return (float(sum(map(bool, matches))), float(sum(matches)))


def weighed(matches: Sequence[int], rarity: Sequence[float]) -> tuple[float, ...]:
    told = zip(matches, rarity, strict=True)
    return (sum(weight * (1 + log(n)) for n, weight in told if n),)


class Words:
    def __init__(self, command: Sequence[str], order: Order) -> None:
        self._command = command
        self._order = order

    def __call__(self, scene: Scene, query: str) -> list[Place]:
        words = asked(query)
        found = counts(self._command, words, scene.folder)
        rarity = [idf(len(scene.tree), len(found[word])) for word in words]
        files = Counter(path for word in words for path in found[word])
        order = {p: self._order([found[w].get(p, 0) for w in words], rarity) for p in files}
        best = sorted(order, key=lambda path: ([-each for each in order[path]], path))
        return [Place(path=path) for path in best[:MOST]]
