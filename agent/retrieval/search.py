"""The places of a project that a request is about, with the edits of a run on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from agent.retrieval.history import CHANGES, History
from agent.retrieval.lexical import asked
from agent.retrieval.memory import FileIndex, MemoryIndex, index_file
from agent.retrieval.ranking import PLACES, Candidate, Hit, rank
from agent.retrieval.store import CodeStore, IndexedTree
from agent.retrieval.tokens import Tokens, query_weights
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
    edited: int = 0  #: files that were read as they stand in the run's workspace


@dataclass(kw_only=True)
class Searcher:
    """Of one indexed commit. `edits`: files as they are now, None for a deleted one."""

    store: CodeStore
    tree: IndexedTree
    now: datetime
    edits: Mapping[str, bytes | None] = field(default_factory=dict[str, bytes | None])
    _history: History | None = None
    _tokens: Tokens = field(default_factory=Tokens)

    async def search(self, query: str, *, places: int = PLACES) -> Answer:
        """Raises `StoreUnavailable`."""
        query = query[:LONGEST]
        history = await self._past()
        evidence = history.evidence(query, self.now)
        pointed = sorted(evidence.history, key=lambda path: -evidence.history[path])
        known = await self.store.frequencies(self.tree, query_weights(query).keys())
        weights = asked(query, known.chunks, known.having)
        candidates: list[Candidate] = []
        if weights:
            candidates += await self.store.best(
                self.tree,
                weights,
                most=CANDIDATES,
                also=pointed[:FROM_HISTORY],
                without=self.edits.keys(),
            )
        own = MemoryIndex(self._edited())
        candidates += [replace(c, id=-1 - c.id) for c in own.weighed(weights)]
        hits = rank(query, candidates, evidence, places=places)
        texts = dict(await self.store.texts(self.tree, [h.id for h in hits if h.id >= 0]))
        texts |= {-1 - n: chunk.text for n, (_, chunk) in enumerate(own.places)}
        found = tuple(Found(hit=hit, text=texts.get(hit.id, "")) for hit in hits)
        return Answer(commit=self.tree.commit, places=found, edited=len(self.edits))

    async def _past(self) -> History:
        if self._history is None:
            changes = await self.store.changes(self.tree.project, CHANGES)
            self._history = History(changes, self._tokens)
        return self._history

    def _edited(self) -> Sequence[FileIndex]:
        made = (index_file(p, data, self._tokens) for p, data in self.edits.items() if data)
        return [each for each in made if each is not None]
