"""A bare repository, read and written through git's plumbing."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from playground.gitlab.git_run import GitError as GitError
from playground.gitlab.git_run import MergeConflict as MergeConflict
from playground.gitlab.git_run import run_git as run_git

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
ZERO = "0" * 40

COMMIT_FORMAT = "%x1f".join(("%H", "%P", "%an", "%ae", "%aI", "%cn", "%ce", "%cI", "%B"))


@dataclass(frozen=True, kw_only=True)
class Commit:
    id: str
    parents: tuple[str, ...]
    author: str
    author_email: str
    authored: str
    committer: str
    committer_email: str
    committed: str
    message: str

    @property
    def title(self) -> str:
        return self.message.split("\n", 1)[0]


@dataclass(frozen=True, kw_only=True)
class FileDiff:
    old_path: str
    new_path: str
    old_mode: str
    new_mode: str
    status: str  #: git's letter: A, M, D, R, T
    patch: str  #: from the first `@@` on


@dataclass(frozen=True, kw_only=True)
class Entry:
    mode: str
    kind: str
    id: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Signature:
    name: str
    email: str


class Repository:
    def __init__(self, path: Path) -> None:
        self.path = path

    async def git(
        self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> bytes:
        return (await run_git(f"--git-dir={self.path}", *args, stdin=stdin, env=env))[1]

    async def text(
        self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> str:
        return (await self.git(*args, stdin=stdin, env=env)).decode("utf-8", "replace").strip()

    # --- reading

    async def resolve(self, ref: str) -> str | None:
        """The commit of a branch, a tag or a SHA, in this order."""
        if not ref or ref.startswith("-") or not ref.isprintable():
            return None
        names = [f"{place}{ref}^{{commit}}" for place in ("refs/heads/", "refs/tags/", "")]
        _, out = await run_git(
            f"--git-dir={self.path}",
            *("cat-file", "--batch-check=%(objecttype) %(objectname)"),
            stdin="\n".join(names).encode(),
            ok=(0, 128),
        )
        found = re.search(r"^commit ([0-9a-f]{40})$", out.decode("utf-8", "replace"), re.MULTILINE)
        return found[1] if found else None

    async def branch(self, name: str) -> str | None:
        code, out = await run_git(
            f"--git-dir={self.path}",
            *("rev-parse", "--verify", "--quiet", f"refs/heads/{name}^{{commit}}"),
            ok=(0, 1, 128),
        )
        return out.decode().strip() if code == 0 else None

    async def refs(self, prefix: str) -> dict[str, str]:
        """Short names and the commits they stand at."""
        out = await self.text(
            "for-each-ref",
            "--format=%(refname)%09%(objectname)%09%(*objectname)",
            f"refs/{prefix}/",
        )
        rows = (line.split("\t") for line in out.splitlines())
        start = len(f"refs/{prefix}/")
        return {row[0][start:]: (row[2] if len(row) > 2 and row[2] else row[1]) for row in rows}

    async def log(self, *args: str) -> list[Commit]:
        out = await self.git("log", "-z", f"--format={COMMIT_FORMAT}", *args)
        return [_commit(row) for row in out.decode("utf-8", "replace").split("\0") if row.strip()]

    async def commit(self, sha: str) -> Commit:
        return (await self.log("-1", sha, "--"))[0]

    async def tree(self, treeish: str, path: str = "", *, recursive: bool = False) -> list[Entry]:
        target = f"{treeish}:{path.strip('/')}" if path.strip("/") else treeish
        args = ["ls-tree", "-z", *(["-r", "-t"] if recursive else []), target]
        rows = (await self.git(*args)).decode("utf-8", "surrogateescape").split("\0")
        entries: list[Entry] = []
        base = path.strip("/")
        for row in filter(None, rows):
            info, name = row.split("\t", 1)
            mode, kind, sha = info.split()
            full = f"{base}/{name}" if base else name
            entries.append(Entry(mode=mode, kind=kind, id=sha, path=full))
        return entries

    async def file(self, commit: str, path: str) -> tuple[Entry, bytes] | None:
        out = await self.git(
            "--literal-pathspecs", "ls-tree", "-z", "--full-tree", commit, "--", path
        )
        row = out.decode("utf-8", "surrogateescape").split("\0")[0]
        if not row:
            return None
        info, name = row.split("\t", 1)
        mode, kind, sha = info.split()
        if kind != "blob":
            return None
        return Entry(mode=mode, kind=kind, id=sha, path=name), await self.blob(sha)

    async def blob(self, sha: str) -> bytes:
        return await self.git("cat-file", "blob", sha)

    async def merge_base(self, *shas: str) -> str | None:
        code, out = await run_git(f"--git-dir={self.path}", "merge-base", *shas, ok=(0, 1))
        return out.decode().strip() if code == 0 else None

    async def is_ancestor(self, older: str, newer: str) -> bool:
        code, _ = await run_git(
            f"--git-dir={self.path}", "merge-base", "--is-ancestor", older, newer, ok=(0, 1)
        )
        return code == 0

    async def diff(self, old: str, new: str) -> list[FileDiff]:
        names = await self.git("diff-tree", "-r", "-M", "--raw", "-z", "--abbrev=40", old, new)
        fields = names.decode("utf-8", "replace").split("\0")
        patches = await self.git("diff-tree", "-r", "-M", "-p", "--no-color", old, new)
        parts = _split_patches(patches.decode("utf-8", "replace"))
        diffs: list[FileDiff] = []
        position = 0
        while position < len(fields) and fields[position]:
            old_mode, new_mode, _, _, status = fields[position].lstrip(":").split()
            renamed = status[0] in "RC"
            old_path = fields[position + 1]
            new_path = fields[position + 2] if renamed else old_path
            diffs.append(
                FileDiff(
                    old_path=old_path,
                    new_path=new_path,
                    old_mode=old_mode,
                    new_mode=new_mode,
                    status=status[0],
                    patch=parts[len(diffs)] if len(diffs) < len(parts) else "",
                )
            )
            position += 3 if renamed else 2
        return diffs

    async def stats(self, sha: str) -> tuple[int, int]:
        out = await self.text("show", "--numstat", "--format=", "-m", "--first-parent", sha)
        rows = [line.split("\t") for line in out.splitlines() if line]
        return (
            sum(int(row[0]) for row in rows if row[0].isdigit()),
            sum(int(row[1]) for row in rows if row[1].isdigit()),
        )

    # --- writing

    async def commit_tree(
        self,
        tree: str,
        parents: Sequence[str],
        message: str,
        author: Signature,
        committer: Signature | None = None,
        *,
        date: str = "",
    ) -> str:
        by = committer or author
        env = {
            "GIT_AUTHOR_NAME": author.name,
            "GIT_AUTHOR_EMAIL": author.email,
            "GIT_COMMITTER_NAME": by.name,
            "GIT_COMMITTER_EMAIL": by.email,
        }
        if date:
            env["GIT_AUTHOR_DATE"] = date
        links = [part for parent in parents for part in ("-p", parent)]
        return await self.text("commit-tree", tree, *links, stdin=message.encode(), env=env)

    async def update_ref(self, ref: str, new: str, old: str) -> None:
        """Moves a ref only if it still stands at `old` (zeros: it must not exist)."""
        await self.git("update-ref", ref, new, old)

    async def delete_ref(self, ref: str) -> None:
        await self.git("update-ref", "-d", ref)

    async def merged_tree(self, ours: str, theirs: str) -> str:
        """The tree of a merge. Raises `MergeConflict`."""
        code, out = await run_git(
            f"--git-dir={self.path}",
            *("merge-tree", "--write-tree", "--allow-unrelated-histories", ours, theirs),
            ok=(0, 1),
        )
        lines = out.decode("utf-8", "replace").splitlines()
        if code == 1:
            raise MergeConflict("\n".join(lines[1:]))
        return lines[0]

    async def applied_tree(self, onto: str, before: str, after: str) -> str:
        """The tree of `onto` with the change from `before` to `after` on top."""
        nobody = Signature(name="-", email="-")
        trees = [
            EMPTY_TREE if tree == EMPTY_TREE else tree + "^{tree}" for tree in (before, onto, after)
        ]
        base = await self.commit_tree(trees[0], [], "base", nobody)
        ours = await self.commit_tree(trees[1], [base], "ours", nobody)
        theirs = await self.commit_tree(trees[2], [base], "theirs", nobody)
        return await self.merged_tree(ours, theirs)

    async def edited_tree(self, base: str | None, changes: Sequence[tuple[str, str, str]]) -> str:
        """The tree of `base` after (mode, blob, path) lines; mode 0 takes the path away."""
        with tempfile.TemporaryDirectory() as folder:
            env = {"GIT_INDEX_FILE": os.path.join(folder, "index")}  # noqa: PTH118
            if base:
                await self.git("read-tree", base, env=env)
            lines = "".join(f"{mode} {blob}\t{path}\0" for mode, blob, path in changes)
            await self.git("update-index", "-z", "--index-info", stdin=lines.encode(), env=env)
            return await self.text("write-tree", env=env)

    async def add_blob(self, data: bytes) -> str:
        return await self.text("hash-object", "-w", "--stdin", stdin=data)


def _commit(row: str) -> Commit:
    fields = row.split("\x1f", 8)
    return Commit(
        id=fields[0].strip(),
        parents=tuple(fields[1].split()),
        author=fields[2],
        author_email=fields[3],
        authored=fields[4],
        committer=fields[5],
        committer_email=fields[6],
        committed=fields[7],
        message=fields[8].rstrip("\n") + "\n" if fields[8].endswith("\n") else fields[8],
    )


def _split_patches(text: str) -> list[str]:
    """One patch a file; what a header adds before the first hunk is dropped."""
    parts: list[str] = []
    lines: list[str] = []
    inside = False
    for line in text.split("\n"):
        if line.startswith("diff --git "):
            if inside:
                parts.append("\n".join(lines))
            inside, lines = True, []
            continue
        if inside and (line.startswith("@@") or lines or line.startswith("Binary files")):
            lines.append(line)
    if inside:
        parts.append("\n".join(lines))
    return [part if part.endswith("\n") or not part else part + "\n" for part in parts]
