"""The places of a project that a request is about, with the edits of a run on top."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from agent.retrieval.chunks import Chunk
from agent.retrieval.embed import digest, document
from agent.retrieval.history import CHANGES, History
from agent.retrieval.lexical import asked
from agent.retrieval.memory import Edited, FileIndex, MemoryIndex
from agent.retrieval.ranking import PLACES, Candidate, Hit, rank
from agent.retrieval.store import CodeStore, IndexedTree
from agent.retrieval.tokens import Tokens, query_weights
from agent.retrieval.vectors import LEXICAL, Meaning, Similarity, joined
from agent.run import CommitSha

CANDIDATES = 400
FROM_HISTORY = 20  #: files that past changes point to, and whose best chunk is looked at
LONGEST = 8000  #: characters of a request that are read


@dataclass(frozen=True, kw_only=True)
class Found:
    """A place with its text."""

    hit: Hit
    text: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    commit: CommitSha  #: of the index
    places: tuple[Found, ...]
    meaning: str = LEXICAL  #: how far it rests on embeddings, too
    edited: int = 0  #: files that were read as they stand in the run's workspace


@dataclass(kw_only=True)
class Searcher:
    """Of one indexed commit. `edits`: files as they are now, None for a deleted one."""

    store: CodeStore
    tree: IndexedTree
    now: datetime
    similarity: Similarity | None = None
    edits: Mapping[str, bytes | None] = field(default_factory=dict[str, bytes | None])
    _history: History | None = None
    _tokens: Tokens = field(default_factory=Tokens)
    _edited: Edited = field(default_factory=Edited)

    async def over(self, edits: Mapping[str, bytes | None], edited: Edited) -> Searcher:
        """The same tree with these edits; what has been read of the past is kept, and in `edited`
        what has been read of them."""
        await self._past()
        return replace(self, edits=edits, _edited=edited)

    async def search(self, query: str, *, places: int = PLACES, inside: str = "") -> Answer:
        """`inside`: a folder or file that all places are of. Raises `StoreUnavailable`."""
        query = query[:LONGEST]
        history = await self._past()
        evidence = history.evidence(query, self.now)
        there = [path for path in evidence.history if within(path, inside)]
        pointed = sorted(there, key=lambda path: -evidence.history[path])
        known = await self.store.frequencies(self.tree, query_weights(query).keys())
        own = await self.own()
        # the run may have brought words that the commit has not
        having = own.having(query) if own.places else Counter[int]()
        having.update(known.having)
        weights = asked(query, known.chunks + len(own.places), having)
        candidates: list[Candidate] = []
        if weights:
            candidates += await self.store.best(
                self.tree,
                weights,
                most=CANDIDATES,
                also=pointed[:FROM_HISTORY],
                without=self.edits.keys(),
                inside=inside,
            )
        mine = [c for c in own.weighed(weights) if within(c.path, inside)]
        candidates += [replace(c, id=-1 - c.id) for c in mine]
        meaning = Meaning()
        if self.similarity is not None:
            contents = {-1 - n: _content(file, c) for n, (file, c) in enumerate(own.places)}
            meaning = await self.similarity.near(
                self.tree,
                query,
                weights,
                without=self.edits.keys(),
                contents=contents.values(),
                inside=inside,
            )
            candidates = joined(candidates, meaning, contents)
        hits = rank(query, candidates, evidence, places=places)
        texts = dict(await self.store.texts(self.tree, [h.id for h in hits if h.id >= 0]))
        texts |= {-1 - n: chunk.text for n, (_, chunk) in enumerate(own.places)}
        # of a tree that was forgotten meanwhile there are none
        found = tuple(Found(hit=hit, text=texts[hit.id]) for hit in hits if hit.id in texts)
        return Answer(
            commit=self.tree.commit,
            places=found,
            meaning=meaning.told,
            edited=len(self.edits),
        )

    async def often(self) -> Mapping[str, float]:
        """Files that are changed often and lately, the most changed one at 1."""
        return (await self._past()).recency(self.now)

    async def own(self) -> MemoryIndex:
        """The edited files."""
        if not self.edits:
            return MemoryIndex(())
        return MemoryIndex(await asyncio.to_thread(self._edited.of, self.edits, self._tokens))

    async def _past(self) -> History:
        if self._history is None:
            changes = await self.store.changes(self.tree.project, CHANGES, self.tree.commit)
            self._history = await asyncio.to_thread(History, changes, self._tokens)
        return self._history


def within(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")


def _content(file: FileIndex, chunk: Chunk) -> bytes:
    return digest(document(file.path, chunk.context, chunk.symbols, chunk.text))
