"""A local git repository, read through one `git cat-file`."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from agent.retrieval.kinds import Kind, kind_of

_NOISE = re.compile(
    r"\(#\d+\)|\(?\b(closes?|fix(es)?|refs?|see)?\s*[#!]\d+\)?|https?://\S+|\[[^\]]{1,20}\]\s*"
    r"|^(feat|fix|chore|docs?|test|tests|refactor|perf|build|ci|style)(\([^)]*\))?!?:\s*",
    re.I,
)
_DULL = re.compile(
    r"^(merge|revert|release|bump|version|update (dependenc|changelog|authors)|v?\d+\.\d+)", re.I
)
_CODE = re.compile(
    r"`[^`]*`|\S*[_/\\.()\[\]{}<>=:]\S*\w|--?\w\S*|\b\w*[a-z][A-Z]\w*|\b[A-Z]{2,}\w*"
)


@dataclass(frozen=True, kw_only=True)
class Commit:
    sha: str
    parent: str
    at: datetime
    title: str
    modified: tuple[str, ...]  #: that were there before
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Case:
    commit: Commit
    query: str
    gold: tuple[str, ...]
    tests: tuple[str, ...]
    number: int  #: of the commit in the history, newest first


class Repository:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._cat = subprocess.Popen(
            ["git", "-C", str(path), "cat-file", "--batch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def close(self) -> None:
        self._cat.communicate()

    def git(self, *args: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.path), "-c", "core.quotepath=false", *args],
            capture_output=True,
            check=True,
        )
        return done.stdout.decode("utf-8", "replace")

    def log(self, ref: str = "HEAD", most: int = 6000) -> list[Commit]:
        """Newest first, without merges."""
        form = "--format=%x00%H%x1f%P%x1f%ct%x1f%s"
        text = self.git(
            "log", ref, "--no-merges", f"-n{most}", form, "--name-status", "--no-renames"
        )
        commits: list[Commit] = []
        for entry in text.split("\0")[1:]:
            head, _, body = entry.partition("\n")
            sha, parents, at, title = head.split("\x1f", 3)
            files = [line.split("\t", 1) for line in body.splitlines() if "\t" in line]
            commits.append(
                Commit(
                    sha=sha,
                    parent=parents.split(" ")[0],
                    at=datetime.fromtimestamp(int(at), UTC),
                    title=title,
                    modified=tuple(path for status, path in files if status == "M"),
                    paths=tuple(path for _, path in files),
                )
            )
        return commits

    def tree(self, commit: str) -> dict[str, str]:
        """Blobs by path; links and submodules are left out."""
        found: dict[str, str] = {}
        for line in self.git("ls-tree", "-r", "-z", commit).split("\0"):
            if line.startswith("100"):
                meta, _, path = line.partition("\t")
                found[path] = meta.split(" ")[2]
        return found

    @lru_cache(maxsize=200_000)  # noqa: B019 - it lives as long as the benchmark
    def blob(self, sha: str) -> bytes:
        """Empty when the clone does not hold it."""
        assert self._cat.stdin is not None
        assert self._cat.stdout is not None
        self._cat.stdin.write(f"{sha}\n".encode())
        self._cat.stdin.flush()
        head = self._cat.stdout.readline().split()
        if head[-1] == b"missing":
            return b""
        data = self._cat.stdout.read(int(head[2]))
        self._cat.stdout.read(1)
        return data


def cases(log: list[Commit], most: int) -> list[Case]:
    """Spread evenly over the newer half of the history: each commit of 1 to 5 source files that
    were there before, with a message of at least four words."""
    found: list[Case] = []
    for number, commit in enumerate(log[: max(len(log) // 2, most)]):
        if not commit.parent or _DULL.match(commit.title) or len(commit.paths) > 12:
            continue
        query = " ".join(_NOISE.sub(" ", commit.title).split())
        gold = tuple(p for p in commit.modified if kind_of(p) is Kind.SOURCE)
        tests = tuple(p for p in commit.modified if kind_of(p) is Kind.TEST)
        if 1 <= len(gold) <= 5 and len(query.split()) >= 4:
            found.append(Case(commit=commit, query=query, gold=gold, tests=tests, number=number))
    step = max(len(found) / most, 1.0)
    return [found[int(n * step)] for n in range(min(most, len(found)))]


def plain(query: str) -> str:
    """Without identifiers, flags and code; empty when too little is left."""
    left = " ".join(_CODE.sub(" ", query).split())
    return left if len(left.split()) >= 3 else ""
