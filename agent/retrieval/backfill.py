"""Embeds what the newest trees of projects lack, behind everything else.

The rows that are stored are the progress: whoever goes on, pays for nothing twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from agent.errors import (
    Broken,
    JourneymanError,
    ModelRejected,
    StoreUnavailable,
    TextsRefused,
    Unavailable,
)
from agent.guard import guarded
from agent.retrieval.embed import Embedded, Embedder
from agent.retrieval.store import CodeStore, IndexedTree
from agent.retrieval.vectors import VectorStore, Wanted

log = logging.getLogger(__name__)

CHARACTERS = 200_000  #: of one request
BATCHES = 20  #: of a project, before the next one has its turn
SHORTEST = 500  #: characters; a text that is refused is tried with half of them down to this
IN_A_ROW = 3  #: single texts that are refused: then it is not due to the texts
SKIPPED = 0.01  #: of a tree may be refused, and its vectors answer all the same
IDLE = 15.0  #: seconds between looks at the trees
LONGEST_WAIT = 600.0
SWEEP = 3600.0
OLD = timedelta(hours=3)  #: that a model is not worked with, before its vectors are dropped


@dataclass(frozen=True, kw_only=True)
class Filled:
    """What one turn came to."""

    vectors: int = 0
    tokens: int = 0
    money: float = 0.0
    left: int = 0  #: at least so many chunks are still to be embedded

    def __add__(self, other: Filled) -> Filled:
        return Filled(
            vectors=self.vectors + other.vectors,
            tokens=self.tokens + other.tokens,
            money=self.money + other.money,
            left=self.left + other.left,
        )


@dataclass(kw_only=True)
class Backfill:
    code: CodeStore
    vectors: VectorStore
    embedder: Embedder
    projects: Sequence[str]
    idle: float = IDLE
    _done: dict[str, int] = field(default_factory=dict[str, int])  #: newest tree by project
    _refused: set[bytes] = field(default_factory=set[bytes])
    _in_a_row: int = 0
    _swept: float | None = None

    async def serve(self) -> None:
        failures = 0
        while True:
            try:
                with guarded(log, "embedding_broke"):
                    worked = await self.turn()
                failures = 0
                wait = 0.0 if worked.vectors else self.idle
            except Unavailable as error:
                failures += 1
                wait = max(error.retry_after or 0.0, min(2.0**failures, LONGEST_WAIT))
                log.warning("embedding_waits", extra={"reason": str(error), "seconds": wait})
            except JourneymanError as error:
                wait = LONGEST_WAIT
                log.error("embedding_refused", extra={"reason": str(error), "seconds": wait})
            await asyncio.sleep(wait)

    async def turn(self) -> Filled:
        """A share of what each project lacks. Raises `ModelUnavailable`, `ModelRejected`,
        `StoreUnavailable`."""
        trees = [tree for project in self.projects if (tree := await self._open(project))]
        sweep = self._swept is None or time.monotonic() - self._swept > SWEEP
        if not trees and not sweep:
            return Filled()
        filled = Filled()
        async with self.vectors.alone(self.embedder.model) as mine:
            if not mine:
                return filled  # another worker is at it
            for tree in trees:
                try:
                    with guarded(log, "tree_not_embedded", project=tree.project):
                        filled += await self._some(tree)
                except Broken:  # as it is; a newer one may do
                    self._done[tree.project] = tree.id
            if sweep:
                await self.vectors.forget(self.embedder.model, OLD)
                self._swept = time.monotonic()
        return filled

    async def fill(
        self, tree: IndexedTree, tell: Callable[[Filled], None] = lambda filled: None
    ) -> Filled:
        """All of one tree, unless another worker is at it."""
        filled = Filled()
        async with self.vectors.alone(self.embedder.model) as mine:
            while mine:
                now = await self._some(tree)
                filled = replace(filled + now, left=now.left)
                tell(filled)
                if not now.left:
                    break
        return filled

    async def _open(self, project: str) -> IndexedTree | None:
        tree = await self.code.newest(project)
        return None if tree is None or self._done.get(project) == tree.id else tree

    async def _some(self, tree: IndexedTree) -> Filled:
        model = self.embedder.model
        room = self.embedder.batch * BATCHES
        lacking = await self.vectors.wanting(tree, model, room + len(self._refused) + 1)
        wanted = [each for each in lacking if each.content not in self._refused]
        filled = Filled()
        for begin in range(0, min(len(wanted), room), self.embedder.batch):
            batch = wanted[begin : begin + self.embedder.batch]
            texts = await self.vectors.documents(tree, [each.chunk for each in batch])
            if len(texts) != len(batch):
                return filled  # the tree was forgotten meanwhile
            filled += await self._embed(batch, texts)
        if len(wanted) > room:
            filled += Filled(left=len(wanted) - room)
        elif wanted:
            filled += await self._some(tree)  # what has come, and whether it is complete
        else:
            await self._complete(tree, skipped=len(lacking))
        if filled.vectors:
            about = {"project": tree.project, "model": model, "vectors": filled.vectors}
            log.info("embedded", extra=about | {"tokens": filled.tokens, "money": filled.money})
        return filled

    async def _complete(self, tree: IndexedTree, *, skipped: int) -> None:
        model = self.embedder.model
        self._done[tree.project] = tree.id
        before = await self.vectors.generation(tree.project)
        if before != model and skipped <= SKIPPED * tree.chunks:
            await self.vectors.switch(tree.project, model)
            about = {"project": tree.project, "model": model, "before": before or "none"}
            log.info("embeddings_switched", extra=about)

    async def _embed(self, wanted: Sequence[Wanted], texts: Sequence[str]) -> Filled:
        if len(texts) > 1 and sum(map(len, texts)) > CHARACTERS:
            return await self._halves(wanted, texts)
        try:
            made = await self.embedder.embed_documents(texts)
        except TextsRefused as error:
            if len(texts) > 1:
                return await self._halves(wanted, texts)
            if len(texts[0]) > SHORTEST:
                return await self._embed(wanted, [texts[0][: len(texts[0]) // 2]])
            return self._skip(wanted[0], error)
        self._in_a_row = 0
        await self._keep([each.content for each in wanted], made)
        return Filled(vectors=len(texts), tokens=made.tokens, money=made.money)

    async def _halves(self, wanted: Sequence[Wanted], texts: Sequence[str]) -> Filled:
        half = len(texts) // 2
        first = await self._embed(wanted[:half], texts[:half])
        return first + await self._embed(wanted[half:], texts[half:])

    def _skip(self, wanted: Wanted, error: TextsRefused) -> Filled:
        self._in_a_row += 1
        if self._in_a_row >= IN_A_ROW:
            self._in_a_row = 0
            raise ModelRejected(str(error)) from error
        self._refused.add(wanted.content)
        log.warning("embedding_skipped", extra={"chunk": wanted.chunk, "reason": str(error)})
        return Filled()

    async def _keep(self, contents: Sequence[bytes], made: Embedded) -> None:
        """To the end, even when we are stopped: it is paid for."""
        keeping = asyncio.ensure_future(self.vectors.keep(self.embedder.model, contents, made))
        try:
            await asyncio.shield(keeping)
        except asyncio.CancelledError:
            try:
                await keeping
            except StoreUnavailable:
                log.warning("embedding_lost", extra={"vectors": len(contents)})
            raise
