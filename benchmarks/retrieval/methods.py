"""Ways to find files for a request: ours, and what everybody has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log

from agent.retrieval.history import History
from agent.retrieval.memory import FileIndex, MemoryIndex
from agent.retrieval.ranking import Candidate, Evidence, Hit, rank
from agent.retrieval.tokens import STOP_WORDS

CANDIDATES = 400


@dataclass(frozen=True, kw_only=True)
class Place:
    path: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The parent's tree of a case, and the history before it."""

    files: Sequence[FileIndex]
    index: MemoryIndex
    history: History
    text: Callable[[str], str]  #: of a path
    near: Callable[[str, Sequence[Candidate]], Sequence[Candidate]] | None = None  #: an embedder's


def grep(scene: Scene, query: str, now: object) -> list[Place]:
    """As ripgrep is used: files by how many of the words they have, then by matches."""
    words = [w.lower() for w in re.findall(r"\w+", query) if len(w) > 2]
    words = [w for w in dict.fromkeys(words) if w not in STOP_WORDS]
    scored: list[tuple[int, int, str]] = []
    for file in scene.files:
        counts = [scene.text(file.path).count(word) for word in words]
        if any(counts):
            scored.append((-sum(map(bool, counts)), -sum(counts), file.path))
    return [Place(path=path, start=0, end=0) for _, _, path in sorted(scored)[:100]]


def bm25_files(scene: Scene, query: str, now: object) -> list[Place]:
    """Plain words, whole files."""
    docs = {file.path: _plain(scene.text(file.path)) for file in scene.files}
    mean = sum(sum(d.values()) for d in docs.values()) / max(len(docs), 1)
    having: Counter[str] = Counter()
    for doc in docs.values():
        having.update(doc.keys())
    words = {w for w in re.findall(r"\w+", query.lower()) if w not in STOP_WORDS}
    scores: dict[str, float] = {}
    for path, doc in docs.items():
        norm = 1.2 * (0.25 + 0.75 * sum(doc.values()) / mean)
        score = sum(
            log(1 + (len(docs) - having[w] + 0.5) / (having[w] + 0.5))
            * doc[w]
            * 2.2
            / (doc[w] + norm)
            for w in words
            if doc[w]
        )
        if score:
            scores[path] = score
    best = sorted(scores, key=lambda path: -scores[path])[:100]
    return [Place(path=path, start=0, end=0) for path in best]


def bm25_chunks(scene: Scene, query: str, now: object) -> list[Place]:
    """Our tokens and chunks, without anything of the ranking."""
    found = sorted(scene.index.best(query, CANDIDATES), key=lambda each: -each.bm25)
    return [Place(path=each.path, start=each.start, end=each.end) for each in found]


def ours(scene: Scene, query: str, now: object) -> list[Place]:
    return [Place(path=h.path, start=h.start, end=h.end) for h in hits(scene, query, now)]


def no_history(scene: Scene, query: str, now: object) -> list[Place]:
    found = rank(query, scene.index.best(query, CANDIDATES), Evidence())
    return [Place(path=h.path, start=h.start, end=h.end) for h in found]


def hits(scene: Scene, query: str, now: object) -> list[Hit]:
    evidence = scene.history.evidence(query, now)  # type: ignore[arg-type]
    also = sorted(evidence.history, key=lambda path: -evidence.history[path])[:20]
    return rank(query, scene.index.best(query, CANDIDATES, also), evidence)


def embedded(scene: Scene, query: str, now: object) -> list[Place]:
    evidence = scene.history.evidence(query, now)  # type: ignore[arg-type]
    also = sorted(evidence.history, key=lambda path: -evidence.history[path])[:20]
    assert scene.near is not None
    candidates = scene.near(query, scene.index.best(query, CANDIDATES, also))
    found = rank(query, candidates, evidence)
    return [Place(path=h.path, start=h.start, end=h.end) for h in found]


EMBEDDED = "ours with embedder"
METHODS: Mapping[str, Callable[[Scene, str, object], list[Place]]] = {
    "grep": grep,
    "BM25 files": bm25_files,
    "BM25 chunks": bm25_chunks,
    "ours without history": no_history,
    "ours": ours,
    EMBEDDED: embedded,
}


def _plain(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text))
