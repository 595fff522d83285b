"""What is asked of an index beside a ranking: symbols, and the decisions that stand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from agent.retrieval.kinds import is_record
from agent.retrieval.lexical import asked
from agent.retrieval.ranking import KINDS, Candidate, Evidence, Hit, rank
from agent.retrieval.search import LONGEST, Answer, Found, Searcher, within
from agent.retrieval.tokens import query_weights

DEFINED = 20  #: places of a symbol
RECORDS = 3  #: decision records
TELLING = 0.3  #: of the best place's words, for a record to be about it


async def defined(searcher: Searcher, names: Collection[str], inside: str = "") -> Answer:
    """Where something of these names is defined, source first. Raises `StoreUnavailable`."""
    tree, edits = searcher.tree, searcher.edits
    there = await searcher.store.defined(tree, names, inside) if names else ()
    found = [each for each in there if each.path not in edits]
    own, wanted = await searcher.own(), set(names)
    for number, (file, chunk) in enumerate(own.places):
        if wanted.intersection(chunk.symbols) and within(file.path, inside):
            found.append(
                Candidate(
                    id=-1 - number,
                    path=file.path,
                    kind=file.kind,
                    start=chunk.start,
                    end=chunk.end,
                    symbols=chunk.symbols,
                )
            )
    found.sort(key=lambda each: (-KINDS[each.kind], each.path, each.start))
    found = found[:DEFINED]
    texts = dict(await searcher.store.texts(tree, [each.id for each in found if each.id >= 0]))
    texts |= {-1 - number: chunk.text for number, (_, chunk) in enumerate(own.places)}
    places = tuple(Found(hit=_named(each), text=texts.get(each.id, "")) for each in found)
    return Answer(commit=tree.commit, places=places, edited=len(edits))


async def records(searcher: Searcher, query: str, paths: Iterable[str]) -> Sequence[Found]:
    """Decision records among these paths that say something of it, as they stand at the commit;
    the best part of each. Raises `StoreUnavailable`."""
    known = [path for path in paths if is_record(path)]
    query = query[:LONGEST]
    words = query_weights(query)
    if not words or not known:
        return ()
    tree, store = searcher.tree, searcher.store
    having = await store.frequencies(tree, words.keys())
    weights = asked(query, having.chunks, having.having)
    if not weights:
        return ()
    best = await store.best(tree, weights, most=1, also=known)
    enough = TELLING * max((each.bm25 for each in best), default=0.0)
    telling = [each for each in best if is_record(each.path) and each.bm25 > enough]
    telling.sort(key=lambda each: -each.bm25)
    hits = rank(query, telling[:RECORDS], Evidence())
    texts = await store.texts(tree, [hit.id for hit in hits])
    return [Found(hit=hit, text=texts.get(hit.id, "")) for hit in hits]


def _named(found: Candidate) -> Hit:
    """Not ranked: it has the name, or it has it not."""
    return Hit(
        id=found.id,
        path=found.path,
        kind=found.kind,
        start=found.start,
        end=found.end,
        symbols=found.symbols,
        score=KINDS[found.kind],
        words=0.0,
        similar=0.0,
        named=True,
        where=0.0,
        history=0.0,
    )
