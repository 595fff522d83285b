"""BM25 in two halves: what a chunk holds is weighed when it is stored, how rare a token is when
it is asked for. So a chunk's weights never change, and one inner product gives the score.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from math import log

from agent.retrieval.chunks import Chunk
from agent.retrieval.tokens import STOP_WORDS, Tokens, number, query_weights, tokens_of

K1 = 1.2
B = 0.75
MEAN = 220.0  #: tokens of a chunk; fixed, so that other chunks do not change the weights of one
PATH, SYMBOLS, CONTEXT = 2, 2, 1  #: how often what stands around the text counts
MOST = 8_000  #: tokens kept of a chunk; pgvector's `sparsevec` takes 16,000
STEPS = 32  #: weights are whole parts of this many: what is alike is compressed

Vector = Mapping[int, float]  # by token number

#: Nobody is answered by the text for these; in paths, names and headings they are kept.
_UNASKED = {number(token) for word in STOP_WORDS for token in tokens_of(word)}
_PARTS = re.compile(r"[/\\.]+")


def path_words(path: str) -> str:
    """The file's own name counts twice: `a/b/user_store.py` gives a b user_store user_store."""
    parts = [part for part in _PARTS.split(path) if part] or [path]
    stem = parts[-2] if len(parts) > 1 and "." in path.rpartition("/")[2] else parts[-1]
    return " ".join([*parts, stem])


def document(path: Counter[int], chunk: Chunk, tokens: Tokens) -> Vector:
    """`path`: the tokens of `path_words`. The weights of everything that the chunk holds."""
    counted = tokens.count(chunk.text)
    length = counted.total()
    for token in counted.keys() & _UNASKED:
        del counted[token]
    for token, times in path.items():
        counted[token] += PATH * times
    if chunk.symbols:
        for token, times in tokens.count(" ".join(chunk.symbols)).items():
            counted[token] += SYMBOLS * times
    if chunk.context:
        for token, times in tokens.count(chunk.context).items():
            counted[token] += CONTEXT * times
    weighed = weigh(counted, length)
    if len(weighed) > MOST:
        weighed = dict(sorted(weighed.items(), key=lambda item: -item[1])[:MOST])
    return {token: max(round(w * STEPS), 1) / STEPS for token, w in weighed.items()}


def weigh(counted: Mapping[int, int], length: int, mean: float = MEAN) -> Vector:
    norm = K1 * (1 - B + B * length / mean)
    return {token: tf * (K1 + 1) / (tf + norm) for token, tf in counted.items()}


def idf(chunks: int, having: int) -> float:
    """Never negative, as in Lucene."""
    return log(1 + (chunks - having + 0.5) / (having + 0.5))


def asked(text: str, chunks: int, having: Mapping[int, int]) -> Vector:
    """The weights of a request; `having`: of the tokens that any chunk has, how many do."""
    return {
        token: weight * idf(chunks, having[token])
        for token, weight in query_weights(text).items()
        if having.get(token)
    }


def inner(a: Vector, b: Vector) -> float:
    small, large = (a, b) if len(a) < len(b) else (b, a)
    return sum(value * large[token] for token, value in small.items() if token in large)


def frequencies(vectors: Iterable[Vector]) -> Counter[int]:
    """In how many of them each token is."""
    found: Counter[int] = Counter()
    for vector in vectors:
        found.update(vector.keys())
    return found
