"""From scored chunks to the places that are shown. Every weight of the ranking stands here."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import exp, log, sqrt

from agent.retrieval.kinds import Kind
from agent.retrieval.paths import likeness, named
from agent.retrieval.tokens import identifiers

DENSE = 0.5  #: of the embedding's similarity, beside BM25
NAMED = 0.25  #: the request names what the chunk defines
PATH = 0.25  #: the file's path has words of the request
PLACE = 0.3  #: the request names the file, or a folder it is in
HISTORY = 0.45  #: past changes with such words touched the file
RECENCY = 0.1  #: the file is changed often and lately
FILE = 2.0  #: of the file's worth in the choice of chunks
NEXT = 0.2  #: of a file's further chunks, in its worth
AGAIN = 0.5  #: of a chunk's value, for each chunk taken of the same file
KINDS = {Kind.SOURCE: 1.0, Kind.TEST: 0.25, Kind.AUX: 0.25, Kind.DOC: 0.15, Kind.CONFIG: 0.15}
LIFTED = 0.6  #: a kind that the request asks for
PLACES, TESTS, DOCS = 20, 3, 2  #: shown; of them kept for tests and for documents

PAST = 40  #: changes that count as alike
HALF = 500.0  #: days

_ASKS = {
    Kind.TEST: re.compile(r"\b(unit|integration|e2e|flaky|failing)?[ -]?tests?\b", re.I),
    Kind.DOC: re.compile(r"\b(docs?|documentation|readme|changelog|adr)\b", re.I),
    Kind.CONFIG: re.compile(r"\b(config(uration)?|settings?|ci|pipeline|workflow|docker)\b", re.I),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A chunk as the index knows it, with what it scored."""

    id: int
    path: str
    kind: Kind
    start: int
    end: int
    symbols: tuple[str, ...] = ()
    bm25: float = 0.0
    cosine: float | None = None  #: None: not embedded


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """A place, best first. The parts lie between 0 and 1, and say where the score comes from."""

    id: int
    path: str
    kind: Kind
    start: int
    end: int
    symbols: tuple[str, ...]
    score: float
    words: float
    similar: float
    named: bool
    where: float  #: the request's words in the path, or the path itself
    history: float


@dataclass(frozen=True, kw_only=True)
class PastChange:
    """A commit, a merged merge request, or an issue that was closed by one."""

    score: float  #: BM25 of its words
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known of files beside their text; both by path, the largest value is 1."""

    history: Mapping[str, float] = field(default_factory=dict[str, float])
    recency: Mapping[str, float] = field(default_factory=dict[str, float])


def history_of(changes: Iterable[PastChange]) -> dict[str, float]:
    alike = sorted(changes, key=lambda each: -each.score)[:PAST]
    found: defaultdict[str, float] = defaultdict(float)
    for change in alike:
        for path in change.paths:
            found[path] += change.score / sqrt(len(change.paths))
    return _normal(found)


def recency_of(changes: Iterable[tuple[float, Sequence[str]]]) -> dict[str, float]:
    """Of changes, each its age in days and its paths."""
    found: defaultdict[str, float] = defaultdict(float)
    for age, paths in changes:
        for path in paths:
            found[path] += exp(-max(age, 0.0) / HALF) / sqrt(len(paths))
    return _normal({path: log(1 + value) for path, value in found.items()})


def rank(
    query: str, candidates: Sequence[Candidate], evidence: Evidence, *, places: int = PLACES
) -> list[Hit]:
    """At most `places`, of which some are kept for tests and documents when there are such."""
    if not candidates:
        return []
    scored = _scored(query, candidates)
    where = _where(query, {s.chunk.path for s in scored})
    worth = _worth(scored, where, evidence, _kinds(query))
    value = {s.chunk.id: s.score + FILE * worth[s.chunk.path] for s in scored}
    tests = min(TESTS, sum(1 for _ in _files(scored, Kind.TEST)))
    docs = min(DOCS, sum(1 for _ in _files(scored, Kind.DOC)))
    most = places - tests - docs if places >= PLACES else places
    picked = _pick(scored, value, most)
    if places >= PLACES:
        picked += _kept(scored, value, picked, Kind.TEST, tests)
        picked += _kept(scored, value, picked, Kind.DOC, docs)
        if len(picked) < places:
            have = {s.chunk.id for s in picked}
            rest = [s for s in scored if s.chunk.id not in have]
            picked += _pick(rest, value, places - len(picked))
    return [_hit(each, value, where, evidence) for each in picked]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scored:
    chunk: Candidate
    words: float
    similar: float
    named: bool
    score: float


def _kinds(query: str) -> dict[Kind, float]:
    asks = {kind for kind, said in _ASKS.items() if said.search(query)}
    return {k: max(w, LIFTED) if k in asks else w for k, w in KINDS.items()}


def _scored(query: str, candidates: Sequence[Candidate]) -> list[_Scored]:
    most = max(c.bm25 for c in candidates) or 1.0
    near = [c.cosine for c in candidates if c.cosine is not None]
    low, high = (min(near), max(near)) if near else (0.0, 0.0)
    names = set(identifiers(query))
    weight = _kinds(query)
    scored: list[_Scored] = []
    for chunk in candidates:
        words = chunk.bm25 / most
        similar = (
            (chunk.cosine - low) / (high - low) if chunk.cosine is not None and high > low else 0.0
        )
        named = not names.isdisjoint(chunk.symbols)
        score = (words + DENSE * similar + NAMED * named) * weight[chunk.kind]
        scored.append(_Scored(chunk=chunk, words=words, similar=similar, named=named, score=score))
    return sorted(scored, key=lambda each: (-each.score, each.chunk.path, each.chunk.start))


def _where(query: str, paths: Collection[str]) -> dict[str, float]:
    like, told = likeness(query, paths), named(query, paths)
    return {path: PATH * like.get(path, 0.0) + PLACE * (path in told) for path in paths}


def _worth(
    scored: Sequence[_Scored],
    where: Mapping[str, float],
    evidence: Evidence,
    weight: Mapping[Kind, float],
) -> dict[str, float]:
    chunks: defaultdict[str, list[float]] = defaultdict(list)
    kind: dict[str, Kind] = {}
    for each in scored:
        chunks[each.chunk.path].append(each.score)
        kind[each.chunk.path] = each.chunk.kind
    own = {
        path: scores[0] + NEXT * sum(score / n for n, score in enumerate(scores[1:4], 1))
        for path, scores in chunks.items()
    }
    most = max(own.values()) or 1.0
    return {
        path: value / most
        + (where[path] + HISTORY * evidence.history.get(path, 0.0)) * weight[kind[path]]
        + RECENCY * evidence.recency.get(path, 0.0)
        for path, value in own.items()
    }


def _pick(scored: Iterable[_Scored], value: Mapping[int, float], most: int) -> list[_Scored]:
    """The best again and again; each one taken makes the rest of its file worth less."""
    rest: defaultdict[str, list[_Scored]] = defaultdict(list)
    for each in sorted(scored, key=lambda s: value[s.chunk.id]):
        rest[each.chunk.path].append(each)
    best = [(-value[chunks[-1].chunk.id], path) for path, chunks in rest.items()]
    heapify(best)
    taken: Counter[str] = Counter()
    picked: list[_Scored] = []
    while best and len(picked) < most:
        _, path = heappop(best)
        picked.append(rest[path].pop())
        taken[path] += 1
        if rest[path]:
            worth = value[rest[path][-1].chunk.id] * AGAIN ** taken[path]
            heappush(best, (-worth, path))
    return picked


def _files(scored: Iterable[_Scored], kind: Kind) -> Iterable[str]:
    return dict.fromkeys(s.chunk.path for s in scored if s.chunk.kind is kind and s.words > 0)


def _kept(
    scored: Sequence[_Scored],
    value: Mapping[int, float],
    picked: Sequence[_Scored],
    kind: Kind,
    places: int,
) -> list[_Scored]:
    """The best of a kind, one of a file, beyond what is picked already."""
    have = {s.chunk.path for s in picked}
    missing = places - len({s.chunk.path for s in picked if s.chunk.kind is kind})
    found: list[_Scored] = []
    for each in sorted(
        (s for s in scored if s.chunk.kind is kind and s.words > 0),
        key=lambda s: -value[s.chunk.id],
    ):
        if len(found) >= missing:
            break
        if each.chunk.path not in have:
            have.add(each.chunk.path)
            found.append(each)
    return found


def _hit(
    each: _Scored, value: Mapping[int, float], where: Mapping[str, float], evidence: Evidence
) -> Hit:
    chunk = each.chunk
    return Hit(
        id=chunk.id,
        path=chunk.path,
        kind=chunk.kind,
        start=chunk.start,
        end=chunk.end,
        symbols=chunk.symbols,
        score=round(value[chunk.id], 4),
        words=round(each.words, 4),
        similar=round(each.similar, 4),
        named=each.named,
        where=round(where[chunk.path] / (PATH + PLACE), 4),
        history=round(evidence.history.get(chunk.path, 0.0), 4),
    )


def _normal(values: Mapping[str, float]) -> dict[str, float]:
    most = max(values.values(), default=0.0)
    return {path: value / most for path, value in values.items()} if most else {}
