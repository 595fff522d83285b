"""Ways to find files for a request: ours, and what everybody has."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from agent.retrieval.kinds import Kind
from agent.retrieval.ranking import PLACES, Candidate, Evidence, Hit, rank
from benchmarks.retrieval.bm25 import Bm25, chunks, code, plain, whole, windows
from benchmarks.retrieval.lsa import lsa, lsa_size
from benchmarks.retrieval.pagerank import graph_size, page_rank
from benchmarks.retrieval.peer import Semble, semble, semble_size
from benchmarks.retrieval.peer import missing as no_semble
from benchmarks.retrieval.scene import Place, Scene
from benchmarks.retrieval.textsearch import TextSearch, text_search, text_size
from benchmarks.retrieval.words import GIT_GREP, RIPGREP, Words, distinct, total, weighed

CANDIDATES = 400
FUSED = 60  #: of reciprocal rank fusion
MORE = 50  #: places, as many as semble is asked for

Find = Callable[[Scene, str], list[Place]]


@dataclass(frozen=True, kw_only=True)
class Method:
    """`size`: bytes of its index, the text left out."""

    find: Find
    size: Callable[[Scene], int] = lambda scene: 0
    missing: Callable[[], str] = lambda: ""  #: a sentence, where it cannot be run here
    tool: type[AbstractContextManager[Any]] | None = None  #: what it starts with
    embedder: bool = False


def fields(scene: Scene, query: str) -> list[Place]:
    """Our tokens, chunks and fields, without anything of the ranking."""
    found = sorted(scene.index.best(query, CANDIDATES), key=lambda each: -each.bm25)
    return _places(found)


def no_history(scene: Scene, query: str) -> list[Place]:
    return _places(rank(query, scene.index.best(query, CANDIDATES), Evidence()))


def ours(scene: Scene, query: str) -> list[Place]:
    return _places(hits(scene, query))


def more(scene: Scene, query: str) -> list[Place]:
    """The places of other methods do not end at 20, either."""
    return _places(hits(scene, query, MORE))


def hits(scene: Scene, query: str, places: int = PLACES) -> list[Hit]:
    evidence, found = _evidence(scene, query)
    return rank(query, found, evidence, places=places)


def embedded(scene: Scene, query: str) -> list[Place]:
    evidence, found = _evidence(scene, query)
    assert scene.near is not None
    return _places(rank(query, scene.near(query, found), evidence))


def dense(scene: Scene, query: str) -> list[Place]:
    """Likeness alone."""
    assert scene.near is not None
    return _places(_nearest(scene.near(query, ())))


def fused(scene: Scene, query: str) -> list[Place]:
    """Of source files alone, as only those have vectors."""
    assert scene.near is not None
    words = [c for c in scene.index.best(query, CANDIDATES) if c.kind is Kind.SOURCE]
    near = _nearest(scene.near(query, ()))
    scores: dict[int, float] = {}
    for ranked in (sorted(words, key=lambda each: -each.bm25), near):
        for number, each in enumerate(ranked, 1):
            scores[each.id] = scores.get(each.id, 0.0) + 1 / (FUSED + number)
    known = {each.id: each for each in (*words, *near)}
    return _places([known[id] for id in sorted(scores, key=lambda id: -scores[id])])


def _evidence(scene: Scene, query: str) -> tuple[Evidence, list[Candidate]]:
    evidence = scene.history.evidence(query, scene.now)
    also = sorted(evidence.history, key=lambda path: -evidence.history[path])[:20]
    return evidence, scene.index.best(query, CANDIDATES, also)


def _nearest(found: Sequence[Candidate]) -> list[Candidate]:
    near = [each for each in found if each.cosine is not None]
    return sorted(near, key=lambda each: -(each.cosine or 0.0))


def _places(found: Sequence[Candidate] | Sequence[Hit]) -> list[Place]:
    return [Place(path=each.path, start=each.start, end=each.end) for each in found]


def _ours_size(scene: Scene) -> int:
    files = scene.index.files
    return sum(f.tokens.nbytes + f.weights.nbytes + 8 * len(f.sizes) for f in files)


def _no_ripgrep() -> str:
    return "" if shutil.which("rg") else "ripgrep is left out: `rg` is not installed."


def _words(command: Sequence[str], order: Callable[..., tuple[float, ...]]) -> Method:
    missing = _no_ripgrep if command is RIPGREP else lambda: ""
    return Method(find=Words(command, order), missing=missing)


def _bm25(method: Bm25) -> Method:
    return Method(find=method, size=method.size)


METHODS: Mapping[str, Method] = {
    "git grep, distinct words": _words(GIT_GREP, distinct),
    "ripgrep, matches": _words(RIPGREP, total),
    "ripgrep, distinct words": _words(RIPGREP, distinct),
    "ripgrep, idf": _words(RIPGREP, weighed),
    "BM25 files, plain words": _bm25(Bm25(cut=whole, count=plain)),
    "BM25 files, code tokens": _bm25(Bm25(cut=whole, count=code)),
    "BM25 chunks, plain words": _bm25(Bm25(cut=chunks, count=plain)),
    "BM25 chunks, code tokens": _bm25(Bm25(cut=chunks, count=code)),
    "BM25 chunks, path and symbols": Method(find=fields, size=_ours_size),
    "BM25 lines 50/10, code tokens": _bm25(Bm25(cut=windows, count=code)),
    "tsvector, ts_rank": Method(find=text_search, size=text_size, tool=TextSearch),
    "LSA 256": Method(find=lsa, size=lsa_size),
    "PageRank as aider's": Method(find=page_rank, size=graph_size),
    "semble": Method(find=semble, size=semble_size, missing=no_semble, tool=Semble),
    "embedder alone": Method(find=dense, embedder=True),
    "BM25 + embedder, RRF": Method(find=fused, embedder=True),
    "ours without history": Method(find=no_history, size=_ours_size),
    "ours": Method(find=ours, size=_ours_size),
    f"ours, {MORE} places": Method(find=more, size=_ours_size),
    "ours with embedder": Method(find=embedded, size=_ours_size, embedder=True),
}
