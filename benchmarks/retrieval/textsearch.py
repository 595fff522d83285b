"""PostgreSQL's own full-text search: a `tsvector` of each chunk's tokens, those of its path and
symbols among them, and `ts_rank`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, cast

import numpy as np

from agent.adapters.embedded_postgres import EmbeddedPostgres
from agent.adapters.postgres import connect
from agent.retrieval.tokens import query_weights
from benchmarks.retrieval.bm25 import Bm25, Units, code, fields
from benchmarks.retrieval.scene import Place, Scene
from benchmarks.scratch import scratch

MOST = 400
_TIMES = 100  #: a token is counted in a chunk
_UNITS = Bm25(cut=fields, count=code)

_TABLE = """
CREATE UNLOGGED TABLE chunks (
    file integer, path text, first integer, last integer, words tsvector);
CREATE INDEX ON chunks USING gin (words);
CREATE INDEX ON chunks (file);"""
_ADD = "INSERT INTO chunks VALUES ($1, $2, $3, $4, $5::text::tsvector)"
_ASK = """
SELECT path, first, last, ts_rank(words, asked, 1) AS rank
FROM chunks, CAST($1::text AS tsquery) AS asked WHERE words @@ asked AND file = ANY ($2)
ORDER BY rank DESC LIMIT $3"""


class TextSearch(AbstractContextManager["TextSearch"]):
    """A server of its own. Contents are stored once; a tree asks for its own."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._folders = ExitStack()
        self._server = AsyncExitStack()
        self._files: dict[int, int] = {}
        self._units: list[Units] = []  # so that no id is used again
        self._db: Any = None
        self.home = Path()

    def __enter__(self) -> TextSearch:
        self._runner.run(self._open())
        return self

    def __exit__(self, *error: object) -> None:
        self._runner.run(self._server.aclose())
        self._runner.close()
        self._folders.close()

    def bring(self, files: Sequence[Units]) -> Sequence[int]:
        """The numbers of these files."""
        new = [units for units in files if id(units) not in self._files]
        for units in new:
            self._files[id(units)] = len(self._files)
        self._units += new
        rows = [row for units in new for row in _rows(self._files[id(units)], units)]
        if rows:
            self._runner.run(self._add(rows))
        return [self._files[id(units)] for units in files]

    def ask(self, query: str, files: Sequence[int]) -> list[Place]:
        words = " | ".join(f"t{token}" for token in query_weights(query))
        if not words:
            return []
        rows = self._runner.run(self._db.fetch(_ASK, words, files, MOST))
        return [Place(path=r["path"], start=r["first"], end=r["last"]) for r in rows]

    def size(self) -> int:
        """Bytes of the table without what it repeats of the places, and of its indexes."""
        return int(self._runner.run(self._db.fetchval("SELECT pg_total_relation_size('chunks')")))

    async def _open(self) -> None:
        self.home = self._folders.enter_context(scratch()) / "home"
        server = await self._server.enter_async_context(EmbeddedPostgres(self.home))
        self._db = cast("Any", await connect(server.admin_dsn))
        self._server.push_async_callback(self._db.close)
        await self._db.execute(_TABLE)

    async def _add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        async with self._db.transaction():
            await self._db.executemany(_ADD, rows)
        await self._db.execute("ANALYZE chunks")


def _rows(file: int, units: Units) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    ends = np.cumsum(units.sizes)
    for place, size, end in zip(units.places, units.sizes, ends.tolist(), strict=True):
        part = slice(end - size, end)
        told = zip(units.tokens[part].tolist(), units.counts[part].tolist(), strict=True)
        words = " ".join(
            f"t{token}:{','.join(str(n + 1) for n in range(min(int(times), _TIMES)))}"
            for token, times in told
        )
        rows.append((file, place.path, place.start, place.end, words))
    return rows


def _files(scene: Scene) -> Sequence[int]:
    units = scene.readings("fields code", _UNITS.read)
    return scene.lasting.tool(TextSearch).bring(units)


def text_search(scene: Scene, query: str) -> list[Place]:
    files = scene.once("tsvector", lambda: _files(scene))
    return scene.lasting.tool(TextSearch).ask(query, files)


def text_size(scene: Scene) -> int:
    return scene.lasting.tool(TextSearch).size()
