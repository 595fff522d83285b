"""The code of a git repository, read by content: what it holds, and what changed it."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice, takewhile
from pathlib import Path

from agent.adapters.git_command import Git, words
from agent.errors import GitFailed
from agent.retrieval.history import FILES, Change
from agent.retrieval.indexer import Blob
from agent.run import CommitSha

_BATCH = 16 << 20  #: bytes of contents that are held at once
_FORM = "--format=%x00%H%x00%ct%x00%s"
_QUIET = ("--no-show-signature", "--no-ext-diff")  # no program that a repository names
_NAMES = (*_QUIET, "--no-renames", "--name-only", "-z", _FORM)


class GitCode:
    """Implements `agent.retrieval.indexer.Source`. `repository`: bare, or a `.git` folder."""

    def __init__(self, repository: Path) -> None:
        self._git = Git(repository)

    async def commit(self, ref: str) -> CommitSha:
        """Raises `GitFailed`."""
        found = await self._git.run(
            ("rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
        )
        if found.code:
            raise GitFailed(
                f"There is no commit {ref} in this repository. Commit something first, or name a "
                "branch, a tag or a commit that is there."
            )
        return CommitSha(found.out.decode().strip())

    async def files(self, commit: CommitSha) -> Sequence[Blob]:
        """Links and submodules are left out, paths that are no UTF-8, and what a partial clone
        does not hold."""
        out = await self._git("ls-tree", "-r", "-z", "-l", commit)
        found: list[Blob] = []
        for line in out.split(b"\0")[:-1]:
            meta, _, name = line.partition(b"\t")
            mode, kind, blob, size = meta.split()
            if kind != b"blob" or not mode.startswith(b"100") or not size.isdigit():
                continue
            try:
                path = name.decode()
            except UnicodeDecodeError:
                continue
            found.append(Blob(path=path, id=blob.decode(), size=int(size)))
        return found

    async def uncommitted(self, folder: Path) -> int:
        """Files of this work tree that were edited, by their times and sizes, or are new."""
        if not (folder / ".git").exists():
            return 0
        edited = ("diff-index", "--name-only", "-z", "--ignore-submodules", "HEAD")
        new = ("ls-files", "--others", "--exclude-standard", "--directory", "-z")
        env = await self._unfiltered()
        found = set[bytes]()
        for command in (edited, new):
            done = await self._git.run(command, work_tree=folder, env=env)
            found.update(done.out.split(b"\0")[:-1] if done.code == 0 else ())
        return len(found)

    async def _unfiltered(self) -> dict[str, str]:
        """Settings that keep git from the programs that the repository names as filters; it runs
        them on files as new as its index."""
        done = await self._git.run(("config", "-z", "--name-only", "--get-regexp", r"^filter\."))
        names = {os.fsdecode(name) for name in done.out.split(b"\0")[:-1]}
        env = {"GIT_CONFIG_COUNT": str(len(names))}
        for number, name in enumerate(names):
            off = "false" if name.endswith(".required") else ""
            env |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": off}
        return env

    async def contents(self, blobs: Sequence[Blob]) -> AsyncGenerator[tuple[Blob, bytes]]:
        batch: list[Blob] = []
        held = 0
        for blob in blobs:
            if batch and held + blob.size > _BATCH:
                for found in await self._read(batch):
                    yield found
                batch, held = [], 0
            batch.append(blob)
            held += blob.size
        for found in await self._read(batch):
            yield found

    async def _read(self, blobs: Sequence[Blob]) -> Sequence[tuple[Blob, bytes]]:
        if not blobs:
            return ()
        asked = "".join(f"{blob.id}\n" for blob in blobs).encode()
        out = memoryview(await self._git("cat-file", "--batch", stdin=asked))
        found: list[tuple[Blob, bytes]] = []
        at = 0
        for blob in blobs:
            end = bytes(out[at : at + 200]).index(b"\n") + at
            header = bytes(out[at:end]).split()
            at = end + 1
            if len(header) == 3:  # not "missing", as in a partial clone
                size = int(header[2])
                found.append((blob, bytes(out[at : at + size])))
                at += size + 1
        return found

    async def _has(self, commit: CommitSha) -> bool:
        """A commit that was pushed over may be gone."""
        return (await self._git.run(["cat-file", "-e", f"{commit}^{{commit}}"])).code == 0

    async def changes(
        self, commit: CommitSha, most: int, without: CommitSha | None = None
    ) -> Sequence[Change]:
        """Newest first; merges are left out, since they repeat what they bring. `commit` itself
        is always told of, without paths where it is no evidence: its time bounds its past."""
        own = _entries(await self._git("log", *_NAMES, "--max-count=1", commit))
        beyond = (f"^{without}",) if without and await self._has(without) else ()
        out = await self._git("log", *_NAMES, "--no-merges", f"-n{most}", commit, *beyond)
        told = [each for each in _entries(out) if each.id == commit or each.paths]
        return told if any(each.id == commit for each in told) else [*own, *told]

    async def moment(self, commit: CommitSha) -> Sequence[Change]:
        """The commit without any path."""
        return _entries(await self._git("log", *_QUIET, "-z", _FORM, "--max-count=1", commit))

    async def landed(self, commit: CommitSha, wanted: Collection[str]) -> Sequence[Change]:
        """What these brought, a merge to its first parent; only of the past of `commit`."""
        past = set((await self._git("rev-list", commit)).decode().split())
        if not (ids := past.intersection(wanted)):
            return ()
        asked = "".join(f"{id}\n" for id in sorted(ids)).encode()
        alone = ("--no-walk=unsorted", "-m", "--first-parent", "--stdin")
        return _entries(await self._git("log", *_NAMES, *alone, stdin=asked))


async def git_folder(folder: Path) -> Path:
    """Of a repository's top folder; `.git` is a file in a linked work tree or a submodule. Raises
    `GitFailed`."""
    inner = folder / ".git"
    if not inner.is_file():
        return inner if inner.exists() else folder
    done = await Git(folder).run(
        ("rev-parse", "--absolute-git-dir"), env={"GIT_DIR": str(inner.absolute())}
    )
    if done.code:
        raise GitFailed(
            f"{folder} is a linked work tree or a submodule, and the repository that its .git file"
            f" names cannot be opened: {words(done.err)} Mend it with `git worktree repair`, or"
            " give the folder of the repository itself."
        )
    return Path(os.fsdecode(done.out.removesuffix(b"\n")))


def _entries(out: bytes) -> Sequence[Change]:
    """Only NUL divides, which neither a subject nor a path can hold, and no path is empty. Of a
    commit with too many paths none is told, and one from no time of a calendar is left out."""
    parts = iter(out.decode("utf-8", "replace").split("\0")[1:])
    found: list[Change] = []
    while len(head := tuple(islice(parts, 3))) == 3:
        sha, at, title = head
        names = list(takewhile(bool, parts))
        paths = tuple(name.removeprefix("\n") for name in names) if len(names) <= FILES else ()
        with suppress(ValueError, OverflowError, OSError):
            when = datetime.fromtimestamp(int(at), UTC)
            found.append(Change(id=sha, at=when, title=title[:300], paths=paths))
    return found
