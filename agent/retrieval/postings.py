"""A tree that is asked again, in memory: by token, the chunks that have it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.retrieval.kinds import Kind
from agent.retrieval.lexical import STEPS, Vector
from agent.retrieval.ranking import Candidate

BYTES = 600  #: of a chunk, about

_FILE = 250  #: bytes of a file: its path, and where it is
_STRING = 58  #: bytes of a string beside its characters
_WEIGHT = 8  #: bits of a weight in a packed number, before which the chunk stands
_TOKEN = 32  #: bits of both, before which the token stands
_BLOCK = 1 << 17  #: packed numbers that are handled at once

Ints = NDArray[np.int32]
Packed = NDArray[np.int64]


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


class Gathered:
    """The files of a tree, as they are read: of each token in a chunk one number, which holds
    the token, the chunk and the weight, so that sorting them makes the postings."""

    def __init__(self) -> None:
        self.files: list[tuple[str, Kind, int]] = []
        self.counts: list[int] = []  #: chunks of each file
        self.symbols: list[str] = []
        self.spans: list[Ints] = []
        self._chunks = 0
        self._packed: Packed = np.empty(0, dtype=np.int64)
        self._end = 0

    def add(self, file: Posted) -> None:
        sizes = np.array(file.sizes, dtype=np.int64)
        chunks = np.arange(self._chunks, self._chunks + len(sizes), dtype=np.int64)
        # what is stored are whole steps, of which the largest weight has 71
        packed = np.rint(file.weights * STEPS).astype(np.int64)
        packed |= np.repeat(chunks, sizes) << _WEIGHT
        packed |= file.tokens.astype(np.int64) << _TOKEN
        self.files.append((file.path, file.kind, file.first))
        self.counts.append(len(sizes))
        self.symbols += file.symbols
        self.spans.append(np.array(file.spans, dtype=np.int32))
        self._chunks += len(sizes)
        end = self._end + len(packed)
        if end > len(self._packed):
            self._grow(end + end // 4)
        self._packed[self._end : end] = packed
        self._end = end

    def packed(self) -> Packed:
        """All of them, in order. Nothing can be added any more."""
        self._grow(self._end)
        found, self._packed = self._packed, np.empty(0, dtype=np.int64)
        found.sort()
        return found

    def _grow(self, size: int) -> None:
        # in place: nobody else knows of the array, and the system moves pages instead of bytes
        self._packed.resize(size, refcheck=False)


class Postings:
    def __init__(self, gathered: Gathered) -> None:
        self._files = gathered.files
        self._begins = np.cumsum([0, *gathered.counts], dtype=np.int64)
        self._at = {path: number for number, (path, _, _) in enumerate(self._files)}
        self._spans = np.concatenate([np.empty(0, np.int32), *gathered.spans])
        self._symbols = gathered.symbols
        packed = gathered.packed()
        self._chunks = np.empty(len(packed), dtype=np.int32)
        self._weights = np.empty(len(packed), dtype=np.uint8)
        tokens, firsts, before = list[Ints](), list[NDArray[np.int64]](), -1
        for begin in range(0, len(packed), _BLOCK):
            part = packed[begin : begin + _BLOCK]
            self._chunks[begin : begin + _BLOCK] = (part >> _WEIGHT) & ((1 << _TOKEN - _WEIGHT) - 1)
            self._weights[begin : begin + _BLOCK] = part & ((1 << _WEIGHT) - 1)
            each = (part >> _TOKEN).astype(np.int32)
            new = np.flatnonzero(np.diff(each, prepend=np.int32(before)))
            tokens.append(each[new])
            firsts.append(new + begin)
            before = int(each[-1])
        self._tokens = np.concatenate([np.empty(0, np.int32), *tokens])
        self._firsts = np.concatenate([np.empty(0, np.int64), *firsts])

    @property
    def nbytes(self) -> int:
        arrays = (self._chunks, self._weights, self._tokens, self._firsts, self._spans)
        strings = len(self._files) * _FILE + sum(map(len, self._symbols))
        return sum(array.nbytes for array in arrays) + strings + len(self._symbols) * _STRING

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
