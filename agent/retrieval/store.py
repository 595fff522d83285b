"""What is kept of the code of projects, and who may ask for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from agent.retrieval.history import Change
from agent.retrieval.lexical import Vector
from agent.retrieval.memory import FileIndex
from agent.retrieval.ranking import Candidate
from agent.run import CommitSha

#: Grows with every change of the chunker, the tokens, the weights or what is embedded: what an
#: older version stored is not mixed with what this one stores, and is indexed again.
VERSION = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeFile:
    path: str
    blob: str  #: git's object id of the content


@dataclass(frozen=True, kw_only=True)
class IndexedTree:
    """One commit of a project, ready to be asked."""

    id: int
    project: str
    commit: CommitSha
    files: int
    lines: int
    chunks: int
    built_at: datetime


@dataclass(frozen=True, kw_only=True)
class Frequencies:
    """Of a tree: how many chunks it has, and in how many of them each token is."""

    chunks: int
    having: Mapping[int, int]  #: of the tokens that were asked for


class CodeStore(Protocol):
    """Every call is about one project and sees nothing of another. Raises `StoreUnavailable`."""

    async def tree(self, project: str, commit: CommitSha) -> IndexedTree | None: ...

    async def newest(self, project: str) -> IndexedTree | None: ...

    def alone(self, project: str) -> AbstractAsyncContextManager[None]:
        """Whoever else wants to index the project waits meanwhile."""
        ...

    async def missing(self, project: str, files: Sequence[TreeFile]) -> Sequence[TreeFile]:
        """Those whose content at that path is not known yet."""
        ...

    async def add(self, project: str, files: Sequence[tuple[TreeFile, FileIndex | None]]) -> None:
        """None: looked at, and not worth an index. What is there already is left as it is."""
        ...

    async def settle(
        self, project: str, commit: CommitSha, files: Sequence[TreeFile]
    ) -> IndexedTree | None:
        """Makes a tree of files that are all known; once, however many call. None: what one of
        them holds was forgotten meanwhile."""
        ...

    async def frequencies(self, tree: IndexedTree, tokens: Collection[int]) -> Frequencies: ...

    async def best(
        self,
        tree: IndexedTree,
        query: Vector,
        *,
        most: int,
        also: Collection[str] = (),
        without: Collection[str] = (),
        inside: str = "",
    ) -> Sequence[Candidate]:
        """The chunks with the largest inner product, and the best one of each file of `also`;
        nothing of the paths in `without`. `inside`: a folder or file that the first are of."""
        ...

    async def texts(self, tree: IndexedTree, chunks: Sequence[int]) -> Mapping[int, str]: ...

    async def defined(
        self, tree: IndexedTree, names: Collection[str], inside: str = ""
    ) -> Sequence[Candidate]:
        """The chunks that define something of that name, in that folder or file."""
        ...

    async def symbols(
        self, tree: IndexedTree, paths: Collection[str]
    ) -> Mapping[str, Sequence[str]]:
        """What these files define, in their order."""
        ...

    async def remember(self, project: str, changes: Sequence[Change]) -> None:
        """Known ones are left as they are, but for paths that were not known."""
        ...

    async def changes(
        self, project: str, most: int, until: CommitSha | None = None
    ) -> Sequence[Change]:
        """Newest first; none that is later than the commit `until`, and none at all while it is
        not known when that one was made."""
        ...

    async def forget(self, project: str, *, keep: int) -> int:
        """Drops all but the newest trees, those that an older version stored, and the content that
        no tree has any more; with the last tree the history, too."""
        ...
