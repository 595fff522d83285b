"""BM25 as everybody has it: over files, chunks or windows of lines, by plain words or by ours."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.retrieval.chunks import OVERLAP, WINDOW, chunks_of
from agent.retrieval.lexical import idf, path_words
from agent.retrieval.tokens import DIMENSIONS, STOP_WORDS, Tokens, number, query_weights
from benchmarks.retrieval.scene import Place, Scene

K1, B = 1.2, 0.75
MOST = 400

Count = Callable[[str, Tokens], Counter[int]]
Cut = Callable[[str, bytes], Sequence[tuple[Place, str]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Units:
    """What one file is cut into."""

    places: tuple[Place, ...]
    tokens: NDArray[np.int32]  #: of all of them, one after the other
    counts: NDArray[np.float32]
    sizes: tuple[int, ...]  #: distinct tokens of each
    lengths: tuple[int, ...]


class Matrix:
    """Units of all files."""

    def __init__(self, files: Sequence[Units]) -> None:
        self.places = [place for file in files for place in file.places]
        self.tokens = np.concatenate([f.tokens for f in files] or [np.empty(0, np.int32)])
        counts = np.concatenate([f.counts for f in files] or [np.empty(0, np.float32)])
        self.sizes = np.array([n for f in files for n in f.sizes], np.int64)
        lengths = np.array([n for f in files for n in f.lengths], np.float32)
        norms = K1 * (1 - B + B * lengths / max(float(lengths.mean()) if len(lengths) else 0, 1.0))
        self.weights = counts * (K1 + 1) / (counts + np.repeat(norms, self.sizes))
        self.having = np.bincount(self.tokens, minlength=DIMENSIONS)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.tokens.nbytes + self.weights.astype(np.float32).nbytes + self.sizes.nbytes

    def idf(self, token: int) -> float:
        return idf(len(self.places), int(self.having[token]))

    def best(self, query: Mapping[int, float], most: int = MOST) -> list[Place]:
        if not self.places:
            return []
        asked = np.zeros(DIMENSIONS, np.float32)
        for token, weight in query.items():
            asked[token] = weight * self.idf(token)
        each = np.append(asked[self.tokens] * self.weights, np.float32(0))
        scores = np.add.reduceat(each, np.cumsum(self.sizes) - self.sizes)
        scores[self.sizes == 0] = 0
        order = np.argsort(-scores, kind="stable")[:most].tolist()
        return [self.places[n] for n in order if scores[n] > 0]


def plain(text: str, tokens: Tokens) -> Counter[int]:
    return Counter(number(word) for word in re.findall(r"\w+", text.lower()))


def code(text: str, tokens: Tokens) -> Counter[int]:
    return tokens.count(text)


def whole(path: str, data: bytes) -> Sequence[tuple[Place, str]]:
    return [(Place(path=path), data.decode("utf-8", "replace"))]


def chunks(path: str, data: bytes) -> Sequence[tuple[Place, str]]:
    found = chunks_of(path, data)
    each = found.chunks if found else ()
    return [(Place(path=path, start=c.start, end=c.end), c.text) for c in each]


def fields(path: str, data: bytes) -> Sequence[tuple[Place, str]]:
    """Chunks with what stands around them, as often as it counts in ours."""
    found = chunks_of(path, data)
    pieces: list[tuple[Place, str]] = []
    for each in found.chunks if found else ():
        around = f"{path_words(path)} {' '.join(each.symbols)}\n"
        place = Place(path=path, start=each.start, end=each.end)
        pieces.append((place, f"{each.text}\n{around * 2}{each.context}"))
    return pieces


def windows(path: str, data: bytes) -> Sequence[tuple[Place, str]]:
    lines = data.decode("utf-8", "replace").splitlines()
    starts = range(0, max(len(lines) - OVERLAP, 1), WINDOW - OVERLAP)
    return [
        (
            Place(path=path, start=first + 1, end=min(first + WINDOW, len(lines))),
            "\n".join(lines[first : first + WINDOW]),
        )
        for first in starts
    ]


@dataclass(frozen=True, kw_only=True)
class Bm25:
    cut: Cut
    count: Count

    def __call__(self, scene: Scene, query: str) -> list[Place]:
        return self.matrix(scene).best(self.asked(query))

    def size(self, scene: Scene) -> int:
        return self.matrix(scene).size

    def matrix(self, scene: Scene) -> Matrix:
        name = f"{self.cut.__name__} {self.count.__name__}"
        return scene.once(name, lambda: Matrix(scene.readings(name, self.read)))

    def asked(self, query: str) -> Mapping[int, float]:
        if self.count is code:
            return query_weights(query)
        words = re.findall(r"\w+", query.lower())
        telling = [word for word in words if word not in STOP_WORDS] or words
        return dict.fromkeys(map(number, telling), 1.0)

    def read(self, path: str, data: bytes, tokens: Tokens) -> Units | None:
        pieces = self.cut(path, data)
        counted = [self.count(text, tokens) for _, text in pieces]
        return Units(
            places=tuple(place for place, _ in pieces),
            tokens=np.fromiter((t for c in counted for t in c), np.int32),
            counts=np.fromiter((n for c in counted for n in c.values()), np.float32),
            sizes=tuple(len(c) for c in counted),
            lengths=tuple(c.total() for c in counted),
        )
