"""Texts as vectors: what an embedder is, what it is given, and which answers are believed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import isfinite
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agent.errors import ModelRejected, TextsRefused

LONGEST = 4000  #: characters of a text that are embedded
_HEADER = 800  #: of them at most for what stands above the text
DIGEST = 20  #: bytes

Vectors = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """Of each text, in order, a vector of length 1."""

    vectors: Vectors
    tokens: int = 0
    money: float = 0.0  #: US dollars; 0 where no price is set


class Embedder(Protocol):
    """Raises `ModelUnavailable`, `TextsRefused`, `ModelRejected`."""

    @property
    def model(self) -> str:
        """Vectors of different models are never compared."""
        ...

    @property
    def dimensions(self) -> int | None:
        """None until the first answer, where none are declared."""
        ...

    @property
    def batch(self) -> int:
        """Texts that are best given at once."""
        ...

    async def embed_documents(self, texts: Sequence[str]) -> Embedded:
        """One request, as soon as the endpoint's limit allows it."""
        ...

    async def embed_query(self, text: str) -> Vectors:
        """One vector, at once or not at all: somebody waits for the answer."""
        ...

    def of(self, model: str) -> Embedder:
        """The same endpoint with another model. Raises `ModelRejected`."""
        ...


def document(path: str, context: str, symbols: Iterable[str], text: str) -> str:
    """A chunk as it is embedded. Its digest names the vector: any change here embeds again."""
    lines = (path, *context.splitlines(), " ".join(symbols))
    header = "\n".join(line for line in lines if line)[:_HEADER]
    return f"{header}\n\n{text}"[:LONGEST]


def digest(document: str) -> bytes:
    return blake2b(document.encode("utf-8", "replace"), digest_size=DIGEST).digest()


def believed(answered: Sequence[Sequence[float]], asked: int, dimensions: int | None) -> Vectors:
    """Raises `ModelRejected` for vectors that may not be stored, and `TextsRefused` where it can
    be due to a single text."""
    if len(answered) != asked:
        raise ModelRejected(
            f"The embeddings endpoint answered {asked} texts with {len(answered)} vectors; nothing"
            " of it is kept. Check that its model makes embeddings."
        )
    lengths = {len(vector) for vector in answered}
    wanted = dimensions or min(lengths)
    if lengths != {wanted} or not wanted:
        raise ModelRejected(
            f"The embeddings endpoint gave vectors of {max(lengths)} dimensions where {wanted} were"
            " expected; nothing of it is kept. Another model answers there: give it its own name"
            " in [embeddings], or correct `dimensions`."
        )
    if not all(isfinite(value) for vector in answered for value in vector):
        raise TextsRefused(
            "The embeddings endpoint gave a vector with NaN or infinity; nothing of it is kept."
        )
    vectors = np.array(answered, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not norms.all() or not np.isfinite(norms).all():
        raise TextsRefused(
            "The embeddings endpoint gave a vector without a direction; nothing of it is kept."
        )
    return (vectors / norms).astype(np.float32)
