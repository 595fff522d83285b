"""Which chunks mean what a request means, as far as they are embedded."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Protocol

from agent.errors import ModelRejected, ModelUnavailable
from agent.retrieval.embed import Embedded, Embedder, Vectors
from agent.retrieval.lexical import Vector
from agent.retrieval.ranking import Candidate
from agent.retrieval.store import IndexedTree

NEAREST = 200  #: chunks that get a similarity
USEFUL = 0.8  #: of the source embedded: with less, what is not would lose for that alone
LEXICAL = "lexical only"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far a tree is embedded with the model that answers."""

    model: str
    chunks: int
    embedded: int
    source: int  #: chunks of source code
    source_embedded: int
    dimensions: int | None = None

    @property
    def useful(self) -> bool:
        of, have = (
            (self.source, self.source_embedded) if self.source else (self.chunks, self.embedded)
        )
        return bool(have) and have >= USEFUL * of

    @property
    def told(self) -> str:
        share = 100 * self.embedded // max(self.chunks, 1)
        return "embedded" if self.embedded >= self.chunks else f"{share} % embedded"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A chunk without a vector."""

    chunk: int
    content: bytes  #: digest of what is embedded


@dataclass(frozen=True, kw_only=True)
class Spent:
    vectors: int
    tokens: int
    money: float  #: US dollars


class VectorStore(Protocol):
    """Vectors by content and model; contents by project. Raises `StoreUnavailable`."""

    async def standing(self, tree: IndexedTree, wanted: str) -> Standing:
        """Of the project's generation, and of `wanted` where it has none yet. May be some seconds
        old."""
        ...

    async def near(
        self,
        tree: IndexedTree,
        model: str,
        vector: Vectors,
        query: Vector,
        *,
        most: int,
        without: Collection[str] = (),
        inside: str = "",
    ) -> Sequence[Candidate]:
        """The nearest of all that are embedded, with both scores; of that folder or file."""
        ...

    async def cosines(
        self,
        tree: IndexedTree,
        model: str,
        vector: Vectors,
        contents: Collection[bytes],
        paths: Collection[str],
    ) -> Mapping[bytes, float]:
        """Of contents that the project itself has had at one of these paths."""
        ...

    async def wanting(self, tree: IndexedTree, model: str, most: int) -> Sequence[Wanted]:
        """Chunks without a vector, source first, each content once."""
        ...

    async def documents(self, tree: IndexedTree, chunks: Sequence[int]) -> Sequence[str]:
        """In order, as they are embedded."""
        ...

    async def keep(self, model: str, contents: Sequence[bytes], made: Embedded) -> None:
        """All or nothing. Raises `ModelRejected` where the model had other dimensions before."""
        ...

    async def generation(self, project: str) -> str | None:
        """The model that answers."""
        ...

    async def switch(self, project: str, model: str) -> None:
        """From now on this model answers."""
        ...

    async def forget(self, model: str, idle: timedelta) -> int:
        """Drops vectors of contents that are gone, and of models other than `model` that answer
        nowhere and were not asked to be made for that long."""
        ...

    async def spent(self, model: str) -> Spent: ...

    def alone(self, model: str) -> AbstractAsyncContextManager[bool]:
        """Whether nobody else embeds with this model; holds until the end. Two at once would pay
        twice for what projects share, and go past the endpoint's limit together."""
        ...


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """`told`: how far the answer rests on it, and why not where it does not."""

    candidates: Sequence[Candidate] = ()
    contents: Mapping[bytes, float] = field(default_factory=dict[bytes, float])  #: of edited files
    told: str = LEXICAL


@dataclass(kw_only=True)
class Similarity:
    store: VectorStore
    embedder: Embedder

    async def near(
        self,
        tree: IndexedTree,
        text: str,
        query: Vector,
        *,
        without: Collection[str] = (),
        contents: Collection[bytes] = (),
        inside: str = "",
    ) -> Meaning:
        """`without`: paths of edited files, of which `contents` are the chunks now. Raises
        `StoreUnavailable`; an endpoint that does not answer costs nothing but this."""
        standing = await self.store.standing(tree, self.embedder.model)
        if not standing.useful:
            return Meaning(told=f"{LEXICAL}, {standing.told}" if standing.embedded else LEXICAL)
        embedder = self.embedder
        try:
            if standing.model != embedder.model:
                embedder = embedder.of(standing.model)
            vector = await embedder.embed_query(text)
        except (ModelUnavailable, ModelRejected) as error:
            return Meaning(told=f"{LEXICAL}: {error}")
        if standing.dimensions != len(vector):
            return Meaning(
                told=f"{LEXICAL}: The embeddings endpoint gave {len(vector)} dimensions where"
                f" {standing.dimensions} were expected."
            )
        found = await self.store.near(
            tree, standing.model, vector, query, most=NEAREST, without=without, inside=inside
        )
        edited: Mapping[bytes, float] = {}
        if contents and found:
            least = min(each.cosine or 0.0 for each in found)
            cosines = await self.store.cosines(tree, standing.model, vector, contents, without)
            edited = {c: cosine for c, cosine in cosines.items() if cosine >= least}
        return Meaning(candidates=found, contents=edited, told=standing.told)


def joined(
    words: Sequence[Candidate], meaning: Meaning, contents: Mapping[int, bytes]
) -> list[Candidate]:
    """What was found by words, with the similarities that are known, and what else is similar.
    `contents`: of chunks that no tree has."""
    by_id = {each.id: each for each in meaning.candidates}
    both: list[Candidate] = []
    for each in words:
        if (near := by_id.pop(each.id, None)) is not None:
            both.append(replace(each, cosine=near.cosine))
        else:
            content = contents.get(each.id, b"")
            both.append(replace(each, cosine=meaning.contents.get(content)))
    return [*both, *by_id.values()]
