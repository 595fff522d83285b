"""Repositories as large as is asked for: trees of others side by side, their objects borrowed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "bench"), ("EMAIL", "bench@localhost"))
}


class Forest:
    """A bare repository whose commits hold the heads of `repositories`, each `copies` times, at
    paths of their own, and have the last one's history."""

    def __init__(self, folder: Path, repositories: Sequence[Path], copies: int = 1) -> None:
        self.folder = folder
        self._index = {"GIT_INDEX_FILE": str(folder / "bench-index"), "GIT_WORK_TREE": str(folder)}
        _git("init", "--quiet", "--bare", str(folder))
        objects = [_git("-C", str(r), "rev-parse", "--git-path", "objects") for r in repositories]
        stores = [str((r / o).resolve()) for r, o in zip(repositories, objects, strict=True)]
        (folder / "objects/info/alternates").write_text("".join(f"{s}\n" for s in stores))
        heads = [_git("-C", str(r), "rev-parse", "HEAD") for r in repositories]
        for copy in range(copies):
            for number, head in enumerate(heads):
                self._run("read-tree", f"--prefix=r{number}c{copy}/", head)
        self.head = self._commit(heads[-1])

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
