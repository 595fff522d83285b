"""What a request tells of where: words that paths have, and paths that it names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache

from agent.retrieval.lexical import K1, idf, path_words
from agent.retrieval.tokens import Tokens, query_weights

NAMES = 20  #: that are read of a request

_SCOPE = re.compile(r"\s*([\w/.,@ -]{2,60}):\s")
_FILE = re.compile(r"\w\.\w{1,5}$")
_QUOTES = "\"'`()[]{}<>,;:!?*"


def likeness(query: str, paths: Collection[str]) -> Mapping[str, float]:
    """By path, BM25 of the request over the words of all `paths`; the largest is 1."""
    asked = query_weights(query)
    words = {path: _words(path) for path in paths}
    having = Counter(token for each in words.values() for token in each if token in asked)
    weights = {token: asked[token] * idf(len(words), n) for token, n in having.items()}
    found = {
        path: sum(w * each[t] * (K1 + 1) / (each[t] + K1) for t, w in weights.items() if t in each)
        for path, each in words.items()
    }
    most = max(found.values(), default=0.0)
    return {path: value / most for path, value in found.items()} if most else {}


def named(query: str, paths: Iterable[str]) -> frozenset[str]:
    """Those that the request names: a file or folder (`views/list.py`, `server/raft`), or what it
    is said to be about (`export: …`)."""
    names = [name for name in _names(query) if len(name) > 1][:NAMES]
    if not names:
        return frozenset()
    one = "|".join(map(re.escape, names))
    where = re.compile(rf"(^|/)({one})(/|$|\.\w+$)", re.I)
    return frozenset(path for path in paths if where.search(path))


def _names(query: str) -> Iterable[str]:
    words = [word.strip(_QUOTES) for word in query.split()]
    said = [word.strip("./") for word in words if "/" in word or _FILE.search(word)]
    if scope := _SCOPE.match(query):
        said += [part.strip("./ ") for part in re.split(r"[,\s]+", scope[1])]
    return dict.fromkeys(said)


@lru_cache(maxsize=5_000)
def _words(path: str) -> Mapping[int, int]:
    return _tokens.count(path_words(path))


_tokens = Tokens()
