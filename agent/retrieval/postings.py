"""A tree that is asked again, in memory: by token, the chunks that have it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.retrieval.kinds import Kind
from agent.retrieval.lexical import STEPS, Vector
from agent.retrieval.ranking import Candidate

BYTES = 700  #: of a chunk, about

Ints = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Posted:
    """A file of the tree. Its chunks' ids follow each other."""

    path: str
    kind: Kind
    first: int  #: id
    spans: Sequence[int]  #: first and last line of each chunk
    symbols: Sequence[str]  #: of each chunk, a line each
    tokens: Ints  #: of all chunks, one after the other
    weights: NDArray[np.float32]
    sizes: Sequence[int]  #: tokens of each chunk


class Postings:
    def __init__(self, files: Sequence[Posted]) -> None:
        self._files = [(file.path, file.kind, file.first) for file in files]
        counts = [len(file.sizes) for file in files]
        self._begins = np.cumsum([0, *counts], dtype=np.int64)
        self._at = {file.path: number for number, file in enumerate(files)}
        self._spans = np.fromiter((line for f in files for line in f.spans), dtype=np.int32)
        self._symbols = [symbols for file in files for symbols in file.symbols]
        tokens = np.concatenate([f.tokens for f in files] or [np.empty(0, np.int32)])
        weights = np.concatenate([f.weights for f in files] or [np.empty(0, np.float32)])
        sizes = np.fromiter((size for f in files for size in f.sizes), dtype=np.int64)
        chunks = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        order = np.argsort(tokens, kind="stable")
        self._tokens, self._firsts = np.unique(tokens[order], return_index=True)
        self._chunks = chunks[order]
        # what is stored are whole steps, of which the largest weight has 71
        self._weights = np.rint(weights[order] * STEPS).astype(np.uint8)

    @property
    def nbytes(self) -> int:
        return self._begins.size * 200 + len(self._symbols) * (BYTES // 4) + 5 * self._chunks.size

    def best(
        self,
        query: Vector,
        most: int,
        *,
        also: Collection[str] = (),
        without: Collection[str] = (),
        inside: str = "",
    ) -> list[Candidate]:
        """The chunks with the largest inner product, and the best one of each file of `also`."""
        scores = self._scores(query)
        offered = self._offered(scores, without, inside)
        wanted = min(most, len(offered))
        top = np.argpartition(-offered, wanted - 1)[:wanted] if wanted else np.empty(0, np.int64)
        top = top[offered[top] > 0]
        top = top[np.argsort(-offered[top], kind="stable")]
        have = {*self._owners(top), *(self._at.get(path) for path in without)}
        for number in (self._at.get(path) for path in dict.fromkeys(also)):
            if number is not None and number not in have:
                part = scores[self._begins[number] : self._begins[number + 1]]
                if len(part):
                    top = np.append(top, self._begins[number] + int(np.argmax(part)))
        found = zip(top.tolist(), self._owners(top), scores[top].tolist(), strict=True)
        return [self._candidate(*each) for each in found]

    def _scores(self, query: Vector) -> NDArray[np.float32]:
        scores = np.zeros(int(self._begins[-1]), dtype=np.float32)
        wanted = np.fromiter(query.keys(), dtype=np.int32)
        for place, token, weight in zip(
            np.searchsorted(self._tokens, wanted), wanted, query.values(), strict=True
        ):
            if place < len(self._tokens) and self._tokens[place] == token:
                last = place + 1 < len(self._firsts)
                part = slice(self._firsts[place], self._firsts[place + 1] if last else None)
                scores[self._chunks[part]] += self._weights[part] * np.float32(weight / STEPS)
        return scores

    def _offered(
        self, scores: NDArray[np.float32], without: Collection[str], inside: str
    ) -> NDArray[np.float32]:
        left = [number for path in without if (number := self._at.get(path)) is not None]
        if inside:
            folder = f"{inside}/"
            left += [
                number
                for number, (path, _, _) in enumerate(self._files)
                if path != inside and not path.startswith(folder)
            ]
        if not left:
            return scores
        offered = scores.copy()
        for number in left:
            offered[self._begins[number] : self._begins[number + 1]] = 0
        return offered

    def _owners(self, chunks: NDArray[np.int64]) -> list[int]:
        return (np.searchsorted(self._begins, chunks, side="right") - 1).tolist()

    def _candidate(self, chunk: int, number: int, score: float) -> Candidate:
        path, kind, first = self._files[number]
        symbols = self._symbols[chunk]
        return Candidate(
            id=first + chunk - int(self._begins[number]),
            path=path,
            kind=kind,
            start=int(self._spans[2 * chunk]),
            end=int(self._spans[2 * chunk + 1]),
            symbols=tuple(symbols.split("\n")) if symbols else (),
            bm25=score,
        )
