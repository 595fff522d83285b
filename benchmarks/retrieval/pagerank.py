"""A map of the repository as aider makes it: files that name what others define, by PageRank,
drawn to what the request names."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from agent.retrieval.chunks import chunks_of
from agent.retrieval.tokens import Tokens
from benchmarks.retrieval.scene import Place, Scene

DAMPING, ROUNDS = 0.85, 40
NAMED, LONG, HIDDEN, COMMON = 10.0, 10.0, 0.1, 0.1  #: factors of an identifier's weight
_MANY = 50  #: files that define a name; beyond, it says nothing
MOST = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    path: str
    defined: tuple[str, ...]
    said: Mapping[str, int]


def read(path: str, data: bytes, tokens: Tokens) -> Names | None:
    found = chunks_of(path, data)
    if found is None or not found.language:
        return None
    defined = dict.fromkeys(name for chunk in found.chunks for name in chunk.symbols)
    said = Counter(re.findall(r"[^\W\d]\w+", data.decode("utf-8", "replace")))
    return Names(path=path, defined=tuple(defined), said=said)


class Graph:
    def __init__(self, files: list[Names]) -> None:
        self._files = files
        self._definers: defaultdict[str, list[int]] = defaultdict(list)
        for number, file in enumerate(files):
            for name in file.defined:
                self._definers[name].append(number)
        edges = [
            (number, definer, name, sqrt(times))
            for number, file in enumerate(files)
            for name, times in file.said.items()
            if name in self._definers and len(self._definers[name]) <= _MANY
            for definer in self._definers[name]
            if definer != number
        ]
        self._from = np.array([e[0] for e in edges], np.int64)
        self._to = np.array([e[1] for e in edges], np.int64)
        numbers = {name: n for n, name in enumerate(self._definers)}
        self._names = np.array([numbers[e[2]] for e in edges], np.int64)
        self._numbers = numbers
        plain = np.array([self._weight(name) for name in numbers], np.float64)
        times = np.array([e[3] for e in edges], np.float64)
        self._weights = times * plain[self._names] if edges else times

    @property
    def size(self) -> int:
        return sum(each.nbytes for each in (self._from, self._to, self._names, self._weights))

    def _weight(self, name: str) -> float:
        weight = LONG if len(name) >= 8 and re.search(r"_|[a-z][A-Z]", name) else 1.0
        weight *= HIDDEN if name.startswith("_") else 1.0
        return weight * (COMMON if len(self._definers[name]) > 5 else 1.0)

    def rank(self, query: str) -> list[Place]:
        if not self._files:
            return []
        words = set(re.findall(r"\w+", query))
        factors = np.ones(max(len(self._numbers), 1))
        for word in words & self._numbers.keys():
            factors[self._numbers[word]] = NAMED
        weights = self._weights * factors[self._names]
        told = {word.lower() for word in words}
        start = np.array([float(not told.isdisjoint(_parts(f.path))) for f in self._files])
        start = (start if start.any() else np.ones(len(self._files))).astype(np.float64)
        ranks = self._walk(weights, start / start.sum())
        order: list[int] = np.argsort(-ranks, kind="stable")[:MOST].tolist()
        return [Place(path=self._files[n].path) for n in order]

    def _walk(
        self, weights: NDArray[np.float64], start: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        many = len(start)
        out = np.bincount(self._from, weights, minlength=many)
        share = weights / out[self._from]
        ranks = start
        for _ in range(ROUNDS):
            passed = np.bincount(self._to, ranks[self._from] * share, minlength=many)
            lost = ranks[out == 0].sum()
            ranks = DAMPING * (passed + lost * start) + (1 - DAMPING) * start
        return ranks


def _parts(path: str) -> set[str]:
    return set(re.split(r"[/._-]+", path.lower()))


def page_rank(scene: Scene, query: str) -> list[Place]:
    return _graph(scene).rank(query)


def graph_size(scene: Scene) -> int:
    return _graph(scene).size


def _graph(scene: Scene) -> Graph:
    return scene.once("graph", lambda: Graph(scene.readings("names", read)))
