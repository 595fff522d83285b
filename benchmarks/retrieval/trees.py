"""Repositories as large as is asked for: trees of others side by side, their objects borrowed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

from agent.retrieval.kinds import kind_of

BYTES = 33  #: of a line, about
AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "bench"), ("EMAIL", "bench@localhost"))
}


class Forest:
    """A bare repository whose commits hold the heads of `repositories` at paths of their own, and
    have the last one's history."""

    def __init__(self, folder: Path, repositories: Sequence[Path]) -> None:
        self.folder = folder
        self._index = {
            "GIT_INDEX_FILE": str(folder / "bench-index"),
            "GIT_WORK_TREE": str(folder),
        }
        _git("init", "--quiet", "--bare", str(folder))
        objects = [_git("-C", str(r), "rev-parse", "--git-path", "objects") for r in repositories]
        stores = [str((r / o).resolve()) for r, o in zip(repositories, objects, strict=True)]
        (folder / "objects/info/alternates").write_text("".join(f"{s}\n" for s in stores))
        self._heads = [_git("-C", str(r), "rev-parse", "HEAD") for r in repositories]
        self.head = self._heads[-1]

    def grow(self, lines: int) -> None:
        """Trees, again and again, until there are about as many lines worth an index."""
        had = 0
        for number, head in enumerate(cycle(self._heads)):
            if had >= lines:
                break
            self._run("read-tree", f"--prefix=r{number}/", head)
            had += self._lines(head)
        self.head = self._commit(self._heads[-1])

    def _lines(self, commit: str) -> int:
        total = 0
        for entry in self._run("ls-tree", "-r", "-z", "-l", commit).split("\0")[:-1]:
            meta, _, path = entry.partition("\t")
            size = meta.split()[3]
            if size.isdigit() and int(size) < 1 << 20 and kind_of(path):
                total += int(size)
        return total // BYTES

    def check_out(self, folder: Path) -> None:
        folder.mkdir()
        archive = subprocess.Popen(
            ["git", "--git-dir", str(self.folder), "archive", self.head], stdout=subprocess.PIPE
        )
        subprocess.run(["tar", "-x", "-C", str(folder)], stdin=archive.stdout, check=True)
        archive.wait()

    def push(self, changed: Mapping[str, bytes]) -> str:
        """A further commit."""
        lines = ""
        for path, data in changed.items():
            blob = self._run("hash-object", "-w", "--stdin", stdin=data)
            lines += f"100644 {blob}\t{path}\n"
        self._run("update-index", "--add", "--index-info", stdin=lines.encode())
        self.head = self._commit(self.head)
        return self.head

    def paths(self) -> Sequence[str]:
        return self._run("ls-files", "-z").split("\0")[:-1]

    def read(self, path: str) -> bytes:
        return subprocess.run(
            ["git", "--git-dir", str(self.folder), "show", f"{self.head}:{path}"],
            check=True,
            capture_output=True,
        ).stdout

    def subjects(self, most: int) -> Sequence[str]:
        out = self._run("log", "--no-merges", f"-n{most}", "--format=%s", self.head)
        return [line for line in out.splitlines() if len(line.split()) >= 4]

    def _commit(self, parent: str) -> str:
        tree = self._run("write-tree", "--missing-ok")  # of partial clones
        commit = self._run("commit-tree", "-p", parent, "-m", "bench", tree)
        self._run("update-ref", "refs/heads/main", commit)
        self._run("symbolic-ref", "HEAD", "refs/heads/main")
        return commit

    def _run(self, *arguments: str, stdin: bytes = b"") -> str:
        return _git("--git-dir", str(self.folder), *arguments, stdin=stdin, env=self._index)


def _git(*arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        ["git", *arguments],
        input=stdin,
        check=True,
        capture_output=True,
        env={**os.environ, **AUTHOR, **(env or {})},
    )
    return done.stdout.decode("utf-8", "replace").strip("\n")
