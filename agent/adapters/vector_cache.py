"""The vectors of trees that are asked again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.adapters.tree_cache import TreeCache
from agent.retrieval.embed import Vectors


@dataclass(frozen=True, kw_only=True)
class Key:
    """All vectors of a tree that one model made."""

    project: str
    tree: int
    model: str
    chunks: int
    dimensions: int

    @property
    def nbytes(self) -> int:
        return self.chunks * self.dimensions * 4


@dataclass(frozen=True, kw_only=True)
class Matrix:
    chunks: NDArray[np.int64]
    vectors: Vectors  #: a row each

    @property
    def nbytes(self) -> int:
        return self.vectors.nbytes + self.chunks.nbytes

    def near(self, vector: Vectors, most: int) -> dict[int, float]:
        """Cosines by chunk, the nearest first."""
        # by one thread: those of BLAS wait for each other on a busy machine
        cosines: Vectors = np.einsum("ij,j->i", self.vectors, vector)
        order = np.argsort(-cosines)[:most]
        return dict(zip(self.chunks[order].tolist(), cosines[order].tolist(), strict=True))


VectorCache = TreeCache[Key, Matrix]
