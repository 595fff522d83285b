"""semble, a code search from PyPI: its chunks, its BM25 and its ranking.

Its model lies on a hub. Without a folder that holds it, in SEMBLE_MODEL, its words alone are asked
for, and every vector is the same.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.retrieval.scene import Place, Scene

MODEL = "SEMBLE_MODEL"
PLACES = 50


def missing() -> str:
    if find_spec("semble") is None:
        return "semble is left out: `pip install --no-deps -r requirements-semble.txt` brings it."
    return ""


@dataclass(frozen=True)
class _NoModel:
    dim: int = 1

    def encode(self, texts: Sequence[str], **options: object) -> NDArray[np.float32]:
        return np.ones((len(texts), 1), np.float32)


class Semble(AbstractContextManager["Semble"]):
    """What it knows of one folder; files that are as they were are not read again."""

    def __init__(self) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        self._create: Any = import_module("semble.index.create")
        self._types: Any = import_module("semble.index.types")
        self._search: Any = import_module("semble.search")
        folder = os.environ.get(MODEL)
        self._model: Any = _NoModel()
        if folder:
            self._model = import_module("model2vec").StaticModel.from_pretrained(folder)
        self._meaning: float | None = None if folder else 0.0
        self._last: Any = None
        self.chunks: Sequence[Any] = ()

    def __exit__(self, *error: object) -> None:
        self._last = None

    def bring(self, folder: Path) -> Semble:
        self._words, self._vectors, self.chunks, manifest = self._create.create_index_from_path(
            folder, model=self._model, display_root=folder, previous=self._last
        )
        self._last = self._types.PreviousIndex(
            chunks=self.chunks,
            vectors=self._vectors.vectors,
            manifest=manifest,
            bm25_index=self._words,
        )
        return self

    def ask(self, query: str, places: int = PLACES) -> list[Place]:
        found = self._search.search(
            query,
            self._model,
            self._vectors,
            self._words,
            self.chunks,
            places,
            alpha=self._meaning,
        )
        chunks = [each.chunk for each in found]
        return [Place(path=c.file_path, start=c.start_line, end=c.end_line) for c in chunks]

    def size(self, folder: Path) -> int:
        """Bytes that it stores, its chunks' text left out."""
        self._words.save(folder / "words")
        self._vectors.save(folder / "vectors")
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def semble(scene: Scene, query: str) -> list[Place]:
    tool = scene.once("semble", lambda: scene.lasting.tool(Semble).bring(scene.folder))
    return tool.ask(query)


def semble_size(scene: Scene) -> int:
    with TemporaryDirectory() as folder:
        return scene.lasting.tool(Semble).size(Path(folder))
