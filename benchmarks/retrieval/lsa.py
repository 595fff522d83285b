"""Latent semantic analysis: a truncated SVD of tf·idf, by random projection."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

from agent.retrieval.tokens import query_weights
from benchmarks.retrieval.bm25 import Bm25, Matrix, chunks, code
from benchmarks.retrieval.scene import Place, Scene

RANK, SPARE, ROUNDS = 256, 16, 2
MOST = 400

Floats = NDArray[np.float32]
UNITS = Bm25(cut=chunks, count=code)


class Lsa(AbstractContextManager["Lsa"]):
    """Learned from the first tree that it is asked about; later ones are folded in."""

    def __init__(self) -> None:
        self._terms: Floats | None = None
        self._rows: NDArray[np.int64] = np.empty(0, np.int64)
        self._idf: Floats = np.empty(0, np.float32)

    def __exit__(self, *error: object) -> None:
        self._terms = None

    def size(self, chunks: int) -> int:
        """Bytes, with vectors of so many chunks."""
        return (0 if self._terms is None else self._terms.nbytes) + chunks * RANK * 4

    def vectors(self, matrix: Matrix) -> Floats:
        if self._terms is None:
            self._learn(matrix)
        assert self._terms is not None
        return _unit(multiplied(*self._known(matrix), self._terms))

    def query(self, text: str) -> Floats:
        assert self._terms is not None
        found = np.zeros(self._terms.shape[1], np.float32)
        for token, weight in query_weights(text).items():
            if (row := self._rows[token]) >= 0:
                found += weight * self._idf[token] * self._terms[row]
        return _unit(found[None])[0]

    def _learn(self, matrix: Matrix) -> None:
        used = np.flatnonzero(matrix.having >= 2)
        self._rows = np.full(len(matrix.having), -1, np.int64)
        self._rows[used] = np.arange(len(used))
        total = len(matrix.places)
        having = matrix.having.astype(np.float32)
        self._idf = np.log1p((total - having + 0.5) / (having + 0.5)).astype(np.float32)
        rows, values, sizes = self._known(matrix)
        units = np.repeat(np.arange(len(sizes)), sizes)
        by_term = np.argsort(rows, kind="stable")
        turned = units[by_term], values[by_term], np.bincount(rows, minlength=len(used))
        width = min(RANK + SPARE, len(used), max(total, 1))
        start = np.random.default_rng(0).standard_normal((len(used), width)).astype(np.float32)
        for _ in range(ROUNDS):
            start = np.linalg.qr(multiplied(*turned, multiplied(rows, values, sizes, start)))[0]
        basis = np.linalg.qr(multiplied(rows, values, sizes, start))[0]
        left, _, _ = np.linalg.svd(multiplied(*turned, basis), full_matrices=False)
        self._terms = np.ascontiguousarray(left[:, :RANK], np.float32)

    def _known(self, matrix: Matrix) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64]]:
        """Rows of terms, values, and how many each unit has, of the tokens that were learned."""
        rows = self._rows[matrix.tokens]
        units = np.repeat(np.arange(len(matrix.sizes)), matrix.sizes)
        known = rows >= 0
        values = (matrix.weights * self._idf[matrix.tokens])[known].astype(np.float32)
        sizes = np.bincount(units[known], minlength=len(matrix.sizes))
        return rows[known], values, sizes


def multiplied(
    columns: NDArray[np.int64], values: Floats, sizes: NDArray[np.int64], dense: Floats
) -> Floats:
    """A sparse matrix, row by row, times a dense one."""
    product = np.zeros((len(sizes), dense.shape[1]), np.float32)
    ends = np.cumsum(sizes)
    for row in np.flatnonzero(sizes).tolist():
        part = slice(ends[row] - sizes[row], ends[row])
        product[row] = values[part] @ dense[columns[part]]
    return product


def _unit(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, np.float32(1e-9))


def lsa(scene: Scene, query: str) -> list[Place]:
    tool, matrix = scene.lasting.tool(Lsa), UNITS.matrix(scene)
    vectors = scene.once("lsa", lambda: tool.vectors(matrix))
    likeness = vectors @ tool.query(query)
    order = np.argsort(-likeness, kind="stable")[:MOST].tolist()
    return [matrix.places[n] for n in order if likeness[n] > 0]


def lsa_size(scene: Scene) -> int:
    return scene.lasting.tool(Lsa).size(len(UNITS.matrix(scene).places))
