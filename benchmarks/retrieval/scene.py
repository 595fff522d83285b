"""What a method looks at: a tree, the history before it, and what was made of them already."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

from agent.retrieval.chunks import readable
from agent.retrieval.history import Change, History
from agent.retrieval.kinds import kind_of
from agent.retrieval.memory import FileIndex, MemoryIndex, index_file
from agent.retrieval.ranking import Candidate
from agent.retrieval.tokens import Tokens
from benchmarks.retrieval.kept import Kept
from benchmarks.retrieval.repository import Repository

T = TypeVar("T")
Tool = TypeVar("Tool", bound=AbstractContextManager[Any])


@dataclass(frozen=True, kw_only=True)
class Place:
    path: str
    start: int = 0  #: 0: the whole file
    end: int = 0


class Lasting:
    """What is used from scene to scene of one repository."""

    def __init__(self, repository: Repository, kept: Kept | None = None) -> None:
        self.repository = repository
        self.tokens = Tokens()
        self._kept = kept
        self._known: dict[str, dict[tuple[str, str], Any]] = {}
        self._tools: dict[type[Any], Any] = {}
        self._stack = ExitStack()

    def close(self) -> None:
        self._stack.close()
        if self._kept is not None:
            self._kept.close()

    def tool(self, kind: type[Tool]) -> Tool:
        """The one of its kind, opened at first use."""
        if kind not in self._tools:
            self._tools[kind] = self._stack.enter_context(kind())
        return cast("Tool", self._tools[kind])

    def readings(
        self, name: str, read: Callable[[str, bytes, Tokens], T | None], tree: Mapping[str, str]
    ) -> list[T]:
        """Of every file of a tree that is worth it. What the tree has no more is forgotten: the
        trees of a run grow older, and old contents hardly ever come back."""
        before, now = self._known.get(name, {}), dict[tuple[str, str], T | None]()
        for path, blob in tree.items():
            if kind_of(path) is not None:
                at = path, blob
                now[at] = before[at] if at in before else self._read(name, read, path, blob)
        self._known[name] = now
        return [found for found in now.values() if found is not None]

    def _read(
        self, name: str, read: Callable[[str, bytes, Tokens], T | None], path: str, blob: str
    ) -> T | None:
        key = f"{name} {blob} {path.encode('utf-8', 'replace').decode()}"
        if self._kept is not None:
            there, found = self._kept.get(key)
            if there:
                return found
        data = self.repository.blob(blob)
        made = read(path, data, self.tokens) if readable(data) else None
        if self._kept is not None:
            self._kept.put(key, made)
        return made


@dataclass(kw_only=True)
class Scene:
    """The parent's tree of a case; everything is made at first use."""

    tree: Mapping[str, str]  #: blobs by path
    past: Sequence[Change]
    now: datetime
    lasting: Lasting
    near: Callable[[str, Sequence[Candidate]], Sequence[Candidate]] | None = None  #: an embedder's
    _made: dict[str, Any] = field(default_factory=dict[str, Any], init=False)

    @cached_property
    def index(self) -> MemoryIndex:
        return MemoryIndex(self.readings("ours", index_file))

    @property
    def files(self) -> Sequence[FileIndex]:
        return self.index.files

    @cached_property
    def history(self) -> History:
        return History(self.past, self.lasting.tokens)

    @cached_property
    def folder(self) -> Path:
        """Its files that are worth an index, on disk; until the next scene is asked for them."""
        return self.lasting.tool(Checkout).to(self.tree, self.lasting.repository)

    def readings(self, name: str, read: Callable[[str, bytes, Tokens], T | None]) -> list[T]:
        return self.lasting.readings(name, read, self.tree)

    def once(self, name: str, make: Callable[[], T]) -> T:
        if name not in self._made:
            self._made[name] = make()
        return cast("T", self._made[name])


class Checkout(AbstractContextManager["Checkout"]):
    """A folder that holds one tree after the other; files that stay are left alone."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="bench-tree-")
        self._held: dict[str, str] = {}

    def __exit__(self, *error: object) -> None:
        self._home.cleanup()

    def to(self, tree: Mapping[str, str], repository: Repository) -> Path:
        folder = Path(self._home.name)
        wanted = {path: blob for path, blob in tree.items() if kind_of(path) is not None}
        for path in self._held.keys() - wanted.keys():
            (folder / path).unlink(missing_ok=True)
        for path, blob in wanted.items():
            if self._held.get(path) == blob:
                continue
            data, target = repository.blob(blob), folder / path
            if target.is_dir():  # of files that are gone
                shutil.rmtree(target)
            if readable(data):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
            else:
                target.unlink(missing_ok=True)
        self._held = wanted
        return folder
