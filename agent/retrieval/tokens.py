"""Words of code and of requests, as the index knows them.

An identifier counts as a whole and in its parts: `exportCSV_file` gives exportcsv_file, export,
csv and file, the parts stemmed by Snowball's English rules.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from math import log
from typing import Any, cast
from zlib import crc32

import Stemmer

DIMENSIONS = 1 << 20  #: tokens are known by a number: crc32 modulo this

_WORD = re.compile(r"[^\W\d]\w*|\d\d+")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\dA-Za-z_]+")
_LONGEST = 64  #: characters; what is longer is no word that anybody asks for
_KNOWN = 500_000  #: words whose tokens are remembered

_ENGLISH = """
a about above after again all also always am an and any are as at be because been before being
below between both but by can cannot could did do does doing don down during each either else
etc ever every few for from further get give given gives go had has have having he her here hers
him his how however i if in instead into is isn it its itself just let like ll make makes many may
me might more most much must my no nor not now of off on once one only onto or other otherwise our
out over own per please rather re s same she should since so some still such t than that the their
them then there these they this those though through to too under until up upon us use used uses
using various ve very via was way we well were what when where whether which while who whom why will
with within without would yet you your
"""
_BOILERPLATE = """
add added adding adds allow allowed allows avoid better bug bump change changed changes changing
clean cleanup correct correctly drop enable ensure ensures feature fix fixed fixes fixing fixup
handle handles handling implement implemented implements improve improved improvement improves
introduce issue merge minor move moved need needed needs new pr properly refactor refactored
remove removed removes removing rename renamed replace rework simplify small some support
supported supporting supports tidy todo tweak typo update updated updates updating work works
working wrong
"""
STOP_WORDS = frozenset((_ENGLISH + _BOILERPLATE).split())

_local = threading.local()


def _stem(word: str) -> str:
    """By a stemmer of this thread's own: they may not be shared."""
    stem: Callable[[str], str] | None = getattr(_local, "stem", None)
    if stem is None:
        stem = cast("Any", Stemmer).Stemmer("english").stemWord
        _local.stem = stem
    return cast("Callable[[str], str]", stem)(word)


class Tokens:
    """Tells the tokens of words, and remembers them: code repeats its words."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, ...]] = {}

    def count(self, text: str) -> Counter[int]:
        found: Counter[int] = Counter()
        for word, times in Counter(_WORD.findall(text)).items():
            for token in self.of(word):
                found[token] += times
        return found

    def of(self, word: str) -> tuple[int, ...]:
        known = self._known.get(word)
        if known is None:
            known = tuple(number(token) for token in tokens_of(word))
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[word] = known
        return known


def number(token: str) -> int:
    return crc32(token.encode()) % DIMENSIONS


def tokens_of(word: str) -> list[str]:
    if len(word) > _LONGEST:
        return []
    parts = [part.lower() for part in _PART.findall(word)]
    found = [_stem(part) for part in parts if len(part) > 1]
    if len(parts) > 1:
        found.append(word.lower())
    return found


def words(text: str) -> list[str]:
    return _WORD.findall(text)


def query_weights(text: str) -> Mapping[int, float]:
    """Of each token of a request 1 + ln of how often it is said; stop words count nothing,
    unless there is nothing else."""
    said = Counter(_WORD.findall(text))
    telling = {word: n for word, n in said.items() if word.lower() not in STOP_WORDS}
    counted: Counter[int] = Counter()
    for word, times in (telling or said).items():
        for token in tokens_of(word):
            counted[number(token)] += times
    return {token: 1 + log(times) for token, times in counted.items()}


def identifiers(text: str) -> Iterable[str]:
    """Words of a request that are written as code is: `snake_case`, `camelCase`, `Parser`."""
    for word in dict.fromkeys(_WORD.findall(text)):
        if word.lower() not in STOP_WORDS and len(word) > 2:
            yield word
