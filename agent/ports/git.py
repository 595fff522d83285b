"""The git that the host runs, outside every sandbox."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from agent.events import FileChange
from agent.run import CommitSha, TreeSha


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a project's code comes from: an https URL, http on loopback, or a local path."""

    url: str
    #: environment variable name and secret for GIT_ASKPASS, never in the URL
    token: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class Collected:
    """The work tree as git sees it, against a base."""

    tree: TreeSha
    patch: str  #: unified diff with binary parts; surrogate-escaped where it is not UTF-8
    files: tuple[FileChange, ...]
    notes: tuple[str, ...] = ()  #: what was left out and why: nested repositories, too large files


@dataclass(frozen=True, kw_only=True)
class Author:
    name: str
    email: str


@dataclass(frozen=True, kw_only=True)
class Landed:
    """Lines of files, as they stand at a commit, that came to its branch lately."""

    lines: Mapping[str, frozenset[int]]
    #: a sentence: what was not looked at; empty: nothing
    gap: str = ""


class Vault(Protocol):
    """The bare repository outside every sandbox; the only git that the host runs."""

    async def fetch(self, origin: Origin, branch: str | None) -> tuple[CommitSha, str]:
        """Newest commit of the branch (None: the default one) and the branch's name."""
        ...

    async def fetch_commit(self, origin: Origin, commit: CommitSha) -> None:
        """That very commit, wherever its branch stands by now. Raises `NotFound` when the origin
        does not have it any more."""
        ...

    async def has(self, treeish: str) -> bool:
        """Is it here, with the tree of a commit?"""
        ...

    async def checkout(self, treeish: str, folder: Path) -> Sequence[str]:
        """Fills an empty folder; returns notes on what is unusual (LFS, submodules, odd names)."""
        ...

    async def read(self, commit: CommitSha, path: str, *, limit: int = 65_536) -> bytes | None: ...

    async def list(self, treeish: str) -> Sequence[str]: ...

    async def collect(self, folder: Path, base: CommitSha) -> Collected: ...

    async def restore(self, base: CommitSha, patch: str) -> TreeSha:
        """The tree that a stored patch makes of the base commit."""
        ...

    async def commit(
        self, tree: TreeSha, parent: CommitSha, message: str, *, author: Author, at: datetime
    ) -> CommitSha:
        """The same arguments give the same SHA on any host."""
        ...

    async def record(self, commit: CommitSha) -> bytes:
        """What git keeps of the commit itself: tree, parents, author, time, message."""
        ...

    async def commit_again(self, record: bytes) -> CommitSha:
        """The commit that a host has made, of its record; parents and tree are here."""
        ...

    async def push(
        self, origin: Origin, commit: CommitSha, branch: str, *, expected: CommitSha | None
    ) -> None:
        """With a lease: raises `Conflict` when the branch is not where `expected` says
        (None: it must not exist yet, or be at `commit`)."""
        ...

    async def remote_head(self, origin: Origin, branch: str) -> CommitSha | None: ...

    async def landed(
        self,
        origin: Origin,
        branch: str,
        commit: CommitSha,
        paths: Collection[str],
        *,
        since: datetime,
    ) -> Landed:
        """What of these files came to the branch since then, within a bounded part of its
        history, which is fetched for this. Commits that a night made do not count. Raises
        `ForgeUnavailable`, and `ForgeRejected` or `GitFailed` when no history can be had."""
        ...

    async def lost(self, commit: CommitSha | None) -> bool:
        """After a command has failed: does the vault not hold any more what was fetched, that
        commit for one? One that is broken is thrown away, and made anew when it is needed."""
        ...

    def forget(self, folder: Path) -> None:
        """Drops what is kept for a workspace that is gone."""
        ...
