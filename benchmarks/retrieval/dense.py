"""An embedder for the benchmark: vectors of source chunks, by content, kept between trees."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from agent.adapters.minilm import MODEL, MiniLM
from agent.adapters.openai_embeddings import OpenAIEmbeddings
from agent.retrieval.embed import Vectors, digest, document
from agent.retrieval.kinds import Kind
from agent.retrieval.lexical import asked
from agent.retrieval.memory import MemoryIndex
from agent.retrieval.ranking import Candidate
from agent.retrieval.vectors import NEAREST

_SAVED = 32  #: batches after which the vectors so far are kept


class Dense:
    """`where`: the address of an endpoint, or "minilm". `cache`: a file of vectors by content, of
    this one model."""

    def __init__(self, where: str, model: str, cache: Path | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._embedder = (
            MiniLM(batch=32)
            if where == "minilm"
            else OpenAIEmbeddings(
                name=model, api_key="none", base_url=where, requests_per_minute=1e6, patience=60
            )
        )
        self.name = MODEL if where == "minilm" else model
        self._loop.run_until_complete(self._embedder.__aenter__())
        self._known: dict[bytes, Vectors] = {}
        self._cache = cache
        if cache is not None and cache.exists():
            with np.load(cache) as kept:
                contents = [bytes.fromhex(str(each)) for each in kept["contents"]]
                self._known = dict(zip(contents, kept["vectors"], strict=True))

    def close(self) -> None:
        self._loop.run_until_complete(self._embedder.__aexit__(None, None, None))
        self._loop.close()
        self.save()

    def save(self) -> None:
        if self._cache is not None and self._known:
            contents = [each.hex() for each in self._known]
            np.savez(self._cache, contents=contents, vectors=np.array([*self._known.values()]))

    def _vectors(self, index: MemoryIndex) -> tuple[Sequence[int], Vectors]:
        """The numbers of source chunks, and their vectors."""
        texts = {
            number: document(file.path, chunk.context, chunk.symbols, chunk.text)
            for number, (file, chunk) in enumerate(index.places)
            if file.kind is Kind.SOURCE
        }
        contents = {number: digest(text) for number, text in texts.items()}
        lacking = {c: texts[n] for n, c in contents.items() if c not in self._known}
        batch = self._embedder.batch
        for begin in range(0, len(lacking), batch):
            some = [*lacking][begin : begin + batch]
            made = self._embedder.embed_documents([lacking[content] for content in some])
            vectors = self._loop.run_until_complete(made).vectors
            self._known.update(zip(some, vectors.astype(np.float16), strict=True))
            if begin // batch % _SAVED == _SAVED - 1:
                self.save()
        rows = [self._known[content] for content in contents.values()]
        return [*contents], np.array(rows, dtype=np.float32).reshape(len(rows), -1)

    def over(self, index: MemoryIndex) -> Callable[[str, Sequence[Candidate]], Sequence[Candidate]]:
        """Takes a query and what its words find; gives that with the similarities of the nearest
        chunks, and the nearest that words do not find."""
        numbers, vectors = self._vectors(index)
        return lambda query, words: self._near(query, numbers, vectors, index, words)

    def _near(
        self,
        query: str,
        numbers: Sequence[int],
        vectors: Vectors,
        index: MemoryIndex,
        words: Sequence[Candidate],
    ) -> list[Candidate]:
        if not numbers:
            return [*words]
        cosines = vectors @ self._loop.run_until_complete(self._embedder.embed_query(query))
        order: list[int] = np.argsort(-cosines)[:NEAREST].tolist()
        near = {numbers[n]: float(cosines[n]) for n in order}
        found = [replace(each, cosine=near.pop(each.id, None)) for each in words]
        weights = asked(query, len(index.places), index.having(query))
        rest = {each.id: each.bm25 for each in index.weighed(weights) if each.id in near}
        for number, cosine in near.items():
            file, chunk = index.places[number]
            found.append(
                Candidate(
                    id=number,
                    path=file.path,
                    kind=file.kind,
                    start=chunk.start,
                    end=chunk.end,
                    symbols=chunk.symbols,
                    bm25=rest.get(number, 0.0),
                    cosine=cosine,
                )
            )
        return found
