"""An index in memory: the chunks of one tree, scored all at once.

Chunks are rows of a sparse matrix, kept file by file, so that an edited file is exchanged without
touching the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from agent.retrieval.chunks import Chunk, chunks_of
from agent.retrieval.kinds import Kind
from agent.retrieval.lexical import Vector, asked, document, path_words
from agent.retrieval.ranking import Candidate
from agent.retrieval.tokens import DIMENSIONS, Tokens, query_weights

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class FileIndex:
    """What is known of one file at one path."""

    path: str
    kind: Kind
    language: str
    lines: int
    chunks: tuple[Chunk, ...]
    tokens: Ints  #: of all chunks, one after the other
    weights: Floats
    sizes: tuple[int, ...]  #: tokens of each chunk
    problem: str = ""

    def vector(self, number: int) -> Vector:
        begin = sum(self.sizes[:number])
        part = slice(begin, begin + self.sizes[number])
        return dict(zip(self.tokens[part].tolist(), self.weights[part].tolist(), strict=True))


def index_file(path: str, data: bytes, tokens: Tokens) -> FileIndex | None:
    """None: not worth an index."""
    found = chunks_of(path, data)
    if found is None or not found.chunks:
        return None
    around = tokens.count(path_words(path))
    vectors = [document(around, chunk, tokens) for chunk in found.chunks]
    return FileIndex(
        path=path,
        kind=found.kind,
        language=found.language,
        lines=found.lines,
        chunks=found.chunks,
        tokens=np.fromiter((t for v in vectors for t in v), dtype=np.int32),
        weights=np.fromiter((w for v in vectors for w in v.values()), dtype=np.float32),
        sizes=tuple(len(vector) for vector in vectors),
        problem=found.problem,
    )


@dataclass(kw_only=True)
class Edited:
    """The indexes of changed files, kept while the files stay as they are."""

    _known: Mapping[tuple[str, bytes], FileIndex | None] = field(
        default_factory=dict[tuple[str, bytes], FileIndex | None], init=False
    )

    def of(self, edits: Mapping[str, bytes | None], tokens: Tokens) -> Sequence[FileIndex]:
        known, now = self._known, dict[tuple[str, bytes], FileIndex | None]()
        for path, data in edits.items():
            if data:
                key = path, sha256(data).digest()
                now[key] = known[key] if key in known else index_file(path, data, tokens)
        self._known = now  # replaced at once: searches of a run may go on side by side
        return [each for each in now.values() if each is not None]


class MemoryIndex:
    def __init__(self, files: Sequence[FileIndex]) -> None:
        self.files = files
        self.places: list[tuple[FileIndex, Chunk]] = [
            (file, chunk) for file in files for chunk in file.chunks
        ]

    @cached_property
    def _tokens(self) -> Ints:
        return np.concatenate([f.tokens for f in self.files] or [np.empty(0, np.int32)])

    @cached_property
    def _weights(self) -> Floats:
        return np.concatenate([f.weights for f in self.files] or [np.empty(0, np.float32)])

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        return np.fromiter((n for f in self.files for n in f.sizes), dtype=np.int64)

    @cached_property
    def _having(self) -> NDArray[np.int64]:
        """By token, how many chunks have it."""
        return np.bincount(self._tokens, minlength=DIMENSIONS)

    def having(self, text: str) -> Counter[int]:
        return Counter({token: int(self._having[token]) for token in query_weights(text)})

    def best(self, text: str, most: int, also: Collection[str] = ()) -> list[Candidate]:
        """The chunks that match best, and the best one of each file of `also`."""
        if not self.places:
            return []
        scores = self._scores(asked(text, len(self.places), self.having(text)))
        wanted = min(most, len(scores))
        top = np.argpartition(-scores, wanted - 1)[:wanted].tolist()
        chosen = [number for number in top if scores[number] > 0]
        chosen += self._best_of(set(also) - {self.places[n][0].path for n in chosen}, scores)
        return [self._candidate(number, float(scores[number])) for number in chosen]

    def weighed(self, query: Vector) -> list[Candidate]:
        """All chunks that have anything of a request that was weighed elsewhere."""
        if not self.places:
            return []
        scores = self._scores(query).tolist()
        return [self._candidate(n, score) for n, score in enumerate(scores) if score > 0]

    def _scores(self, query: Vector) -> Floats:
        dense = np.zeros(DIMENSIONS, dtype=np.float32)
        for token, weight in query.items():
            dense[token] = weight
        each = np.append(dense[self._tokens] * self._weights, np.float32(0))
        # of an empty chunk reduceat gives what comes next, and the last one begins at the end
        sums = np.add.reduceat(each, np.cumsum(self._sizes) - self._sizes)
        return np.where(self._sizes > 0, sums, np.float32(0))

    def _best_of(self, paths: set[str], scores: Floats) -> list[int]:
        best: dict[str, int] = {}
        if paths:
            for number, (file, _) in enumerate(self.places):
                path = file.path
                if path in paths and (path not in best or scores[number] > scores[best[path]]):
                    best[path] = number
        return list(best.values())

    def _candidate(self, number: int, score: float) -> Candidate:
        file, chunk = self.places[number]
        return Candidate(
            id=number,
            path=file.path,
            kind=file.kind,
            start=chunk.start,
            end=chunk.end,
            symbols=chunk.symbols,
            bm25=score,
        )
