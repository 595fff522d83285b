"""A workspace as git's work tree: filled once, collected after each step.

The workspace is hostile. It is only listed first; what is listed is looked at without following
links; then exactly the accepted paths are put into an index of ours.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import posixpath
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agent.adapters.git_command import Git
from agent.errors import Refused
from agent.events import FileChange
from agent.ports import Collected
from agent.run import TreeSha

FILE_LIMIT = 20 * 2**20
TOTAL_LIMIT = 200 * 2**20

_Entry = tuple[bytes, bytes, bytes]  # mode, object, path
_STATUS: dict[str, Literal["added", "modified", "deleted", "renamed"]] = {
    "A": "added",
    "M": "modified",
    "T": "modified",
    "D": "deleted",
    "R": "renamed",
    "C": "added",
}


@dataclass(frozen=True, kw_only=True)
class _Change:
    """What is to be done to the index."""

    take: list[bytes] = field(default_factory=list[bytes])
    drop: list[bytes] = field(default_factory=list[bytes])
    large: list[bytes] = field(default_factory=list[bytes])
    repositories: list[bytes] = field(default_factory=list[bytes])

    def notes(self, refused: Sequence[bytes]) -> list[str]:
        left = (
            (f"larger than {FILE_LIMIT // 2**20} MB", self.large),
            ("a git repository of its own", self.repositories),
            ("names that git refuses", refused),
        )
        return [f"Left out, {why}: {_names(paths)}." for why, paths in left if paths]


@dataclass(frozen=True, kw_only=True)
class _Base:
    name: str
    submodules: frozenset[bytes]
    lfs: bool


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """The last result, valid while nothing differs from the index."""

    base: str
    collected: Collected
    gone: tuple[bytes, ...]
    skipped: list[bytes]


class Collector:
    """Keeps one index for one workspace, so that a step costs what it changed."""

    def __init__(self, git: Git, folder: Path) -> None:
        name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
        self._git = git
        self._folder = folder
        self._bytes = os.fsencode(folder)
        self.index = git.repository / "worktrees-index" / name
        self._kept: _Kept | None = None
        self._base: _Base | None = None

    async def fill(self, tree: str) -> Sequence[str]:
        """Writes the files; returns notes on what is unusual."""
        self._kept = None
        self.index.unlink(missing_ok=True)
        self.index.with_suffix(".lock").unlink(missing_ok=True)
        entries, _ = await asyncio.gather(_entries(self._git, tree), self._write_files(tree))
        return await _notes_on(self._git, self.index, entries)

    async def _write_files(self, tree: str) -> None:
        await self._git("read-tree", tree, index=self.index)
        await self._tree("checkout-index", "--all", "--index", "--quiet")

    async def collect(self, base: str) -> Collected:
        kept = self._kept if self._kept and self._kept.base == base else None
        if kept and not self.index.exists():
            kept = None  # the vault was made anew: an empty index would lose what is ignored
        if kept and any(os.path.lexists(self._bytes + b"/" + path) for path in kept.gone):
            kept = None  # where an ignore rule covers it, git would not see that it came back
        candidates = await self._list(base, fresh=kept is None)
        if kept and candidates == kept.skipped:
            return kept.collected
        self._kept = None  # a failure below leaves the index in between
        submodules = (await self._facts(base)).submodules
        change = self._judge(candidates, submodules)
        if kept and change.large:
            # An earlier, smaller content may stand in the index.
            candidates = await self._list(base, fresh=True)
            change = self._judge(candidates, submodules)
        refused = await self._apply(change)
        tree, (patch, files) = await asyncio.gather(self._write_tree(), self._diff(base))
        notes = change.notes(refused)
        if lfs := await self._lfs_among([path for path, _ in files], base):
            notes.append(
                f"Changed, but kept by Git LFS, whose content cannot be uploaded: {_names(lfs)}."
            )
        collected = Collected(
            tree=tree, patch=patch, files=tuple(file for _, file in files), notes=tuple(notes)
        )
        taken = {*change.take, *change.drop} - set(refused)
        self._kept = _Kept(
            base=base,
            collected=collected,
            gone=(*(kept.gone if kept else ()), *change.drop),
            skipped=[path for path in candidates if path not in taken],
        )
        return collected

    async def _list(self, base: str, *, fresh: bool) -> list[bytes]:
        """What differs from the index; git only lists it here, nothing is taken yet."""
        if fresh:
            await self._start(base)
        out = await self._tree(
            "ls-files", "-z", "--others", "--modified", "--exclude-standard", "--", "."
        )
        return sorted(set(out.split(b"\0")[:-1]))

    async def _start(self, base: str) -> None:
        """The index as the base has it, with what is known of unchanged files."""
        self.index.with_suffix(".lock").unlink(missing_ok=True)
        merge = ("--reset",) if self.index.exists() else ()
        await self._tree("read-tree", *merge, base)
        await self._tree("update-index", "-q", "--refresh", allow=(0, 1))

    def _judge(self, candidates: Iterable[bytes], submodules: frozenset[bytes]) -> _Change:
        change = _Change()
        total = 0
        parents: dict[bytes, bool] = {b"": True}
        for path in candidates:
            if path.endswith(b"/"):
                change.repositories.append(path)
                continue
            if not _real_parent(self._bytes, posixpath.dirname(path), parents):
                change.drop.append(path)
                continue
            try:
                found = os.lstat(self._bytes + b"/" + path)
            except (FileNotFoundError, NotADirectoryError):
                change.drop.append(path)
                continue
            if stat.S_ISDIR(found.st_mode):
                if path not in submodules:
                    change.drop.append(path)
            elif not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
                change.drop.append(path)
            elif found.st_size > FILE_LIMIT:
                change.large.append(path)
            else:
                total += found.st_size
                change.take.append(path)
        if total > TOTAL_LIMIT:
            raise Refused(
                f"The change has {total // 2**20} MB of new or changed files; "
                f"at most {TOTAL_LIMIT // 2**20} MB are kept. "
                "Delete what was generated, or add it to .gitignore."
            )
        return change

    async def _apply(self, change: _Change) -> Sequence[bytes]:
        """Returns what git would not take."""
        if change.drop:
            await self._tree(
                "update-index", "--force-remove", "-z", "--stdin", stdin=_lines(change.drop)
            )
        if change.take:
            done = await self._git.run(
                ["update-index", "--add", "--remove", "--replace", "-z", "--stdin"],
                stdin=_lines(change.take),
                index=self.index,
                work_tree=self._folder,
            )
            if done.code:
                raise Refused(f"The change cannot be kept by git: {done.err.strip()[-500:]}")
            named = (line.partition("Ignoring path ")[2] for line in done.err.splitlines())
            return [name.encode("utf-8", "surrogateescape") for name in named if name]
        return []

    async def _write_tree(self) -> TreeSha:
        return TreeSha((await self._git("write-tree", index=self.index)).decode().strip())

    async def _diff(self, base: str) -> tuple[str, list[tuple[bytes, FileChange]]]:
        out = await self._git(
            "diff-index",
            "--cached",
            "--raw",
            "--numstat",
            "--patch",
            "-z",
            "-M",
            "--binary",
            "--full-index",
            "--no-ext-diff",
            "--no-textconv",
            "--no-color",
            "--ignore-submodules=none",
            base,
            index=self.index,
        )
        return _parse_diff(out)

    async def _lfs_among(self, paths: Sequence[bytes], base: str) -> Sequence[bytes]:
        attributes = any(posixpath.basename(path) == b".gitattributes" for path in paths)
        if not paths or not (attributes or (await self._facts(base)).lfs):
            return ()
        return await _lfs(self._git, self.index, paths)

    async def _facts(self, base: str) -> _Base:
        if self._base is None or self._base.name != base:
            entries = await _entries(self._git, base)
            self._base = _Base(
                name=base,
                submodules=frozenset(path for mode, _, path in entries if mode == b"160000"),
                lfs=await _uses_lfs(self._git, entries),
            )
        return self._base

    async def _tree(
        self, *arguments: str, stdin: bytes = b"", allow: tuple[int, ...] = (0,)
    ) -> bytes:
        return await self._git(
            *arguments, stdin=stdin, allow=allow, index=self.index, work_tree=self._folder
        )


def _real_parent(root: bytes, parent: bytes, known: dict[bytes, bool]) -> bool:
    """Whether no part of the path is a link; each folder is looked at once."""
    if parent not in known:
        try:
            link = stat.S_ISLNK(os.lstat(root + b"/" + parent).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            link = False
        known[parent] = not link and _real_parent(root, posixpath.dirname(parent), known)
    return known[parent]


def _parse_diff(out: bytes) -> tuple[str, list[tuple[bytes, FileChange]]]:
    """Raw records, then counts, then, after an empty field, the patch."""
    status: dict[bytes, str] = {}
    fields = iter(_fields(out))
    rest = b""
    files: list[tuple[bytes, FileChange]] = []
    for value, after in fields:
        if value.startswith(b":"):
            letter = value.rsplit(b" ", 1)[1][:1].decode()
            path = next(fields)[0]
            if letter in "RC":
                path = next(fields)[0]
            status[path] = letter
        elif not value:
            rest = after
            break
        else:
            added, removed, path = value.split(b"\t", 2)
            if not path:
                next(fields)
                path = next(fields)[0]
            change = FileChange(
                path=path.decode("utf-8", "backslashreplace"),
                status=_STATUS.get(status.get(path, "M"), "modified"),
                added=0 if added == b"-" else int(added),
                removed=0 if removed == b"-" else int(removed),
            )
            files.append((path, change))
    return rest.decode("utf-8", "surrogateescape"), files


def _fields(out: bytes) -> Iterable[tuple[bytes, bytes]]:
    """NUL-ended fields, each with a view of what follows it."""
    position = 0
    while (end := out.find(b"\0", position)) >= 0:
        value = out[position:end]
        position = end + 1
        yield value, out[position:] if not value else b""


async def _notes_on(git: Git, index: Path, entries: Sequence[_Entry]) -> Sequence[str]:
    """What is unusual in a tree, in sentences."""
    paths = [path for _, _, path in entries]
    notes: list[str] = []
    if submodules := [path for mode, _, path in entries if mode == b"160000"]:
        notes.append(f"Submodules are not fetched: {_names(submodules)}.")
    if await _uses_lfs(git, entries) and (lfs := await _lfs(git, index, paths)):
        notes.append(f"Git LFS files are pointers here, without their content: {_names(lfs)}.")
    if outside := await _outside(git, entries):
        notes.append(f"Links that leave the tree: {_names(outside)}.")
    if odd := [path for path in paths if not _is_utf8(path)]:
        notes.append(f"File names that are not UTF-8: {_names(odd)}.")
    folded = Counter(path.decode("utf-8", "surrogateescape").casefold() for path in paths)
    if len(folded) < len(paths):
        same = [
            path for path in paths if folded[path.decode("utf-8", "surrogateescape").casefold()] > 1
        ]
        notes.append(f"File names that differ by case only: {_names(same)}.")
    return notes


async def _entries(git: Git, tree: str) -> list[_Entry]:
    """Each file of a tree."""
    out = await git("ls-tree", "-r", "-z", tree)
    entries: list[_Entry] = []
    for line in out.split(b"\0")[:-1]:
        head, _, path = line.partition(b"\t")
        mode, _, blob = head.split(b" ")
        entries.append((mode, blob, path))
    return entries


async def _outside(git: Git, entries: Iterable[_Entry]) -> list[bytes]:
    links = [(blob, path) for mode, blob, path in entries if mode == b"120000"]
    if not links:
        return []
    out = await git("cat-file", "--batch", stdin=b"".join(blob + b"\n" for blob, _ in links))
    outside: list[bytes] = []
    for _, path in links:
        header, _, out = out.partition(b"\n")
        size = int(header.rsplit(b" ", 1)[1])
        target, out = out[:size], out[size + 1 :]
        end = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if end.startswith((b"/", b"../")) or end == b"..":
            outside.append(path)
    return outside


async def _uses_lfs(git: Git, entries: Iterable[_Entry]) -> bool:
    blobs = [blob for _, blob, path in entries if posixpath.basename(path) == b".gitattributes"]
    if not blobs:
        return False
    out = await git("cat-file", "--batch", stdin=b"".join(blob + b"\n" for blob in blobs))
    return b"filter=lfs" in out


async def _lfs(git: Git, index: Path, paths: Iterable[bytes]) -> list[bytes]:
    """Those of the paths that attributes hand to Git LFS."""
    out = await git(
        "check-attr", "--cached", "-z", "--stdin", "filter", stdin=_lines(paths), index=index
    )
    fields = out.split(b"\0")
    return [path for path, value in zip(fields[::3], fields[2::3], strict=False) if value == b"lfs"]


def _is_utf8(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


def _lines(paths: Iterable[bytes]) -> bytes:
    return b"".join(path + b"\0" for path in paths)


def _names(paths: Sequence[bytes]) -> str:
    shown = ", ".join(path.decode("utf-8", "backslashreplace") for path in paths[:5])
    return shown if len(paths) <= 5 else f"{shown} and {len(paths) - 5} more"
