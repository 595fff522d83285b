"""Bare repositories made of nothing but commits, as fast and as odd as tests want them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

FILE, LINK, MODULE = b"100644", b"120000", b"160000"


@dataclass(frozen=True, kw_only=True)
class Entry:
    data: bytes
    mode: bytes = FILE


class BareRepository:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._git("init", "--quiet", "--bare", str(folder))

    def commit(
        self,
        files: Mapping[str | bytes, Entry | bytes | None],
        *,
        branch: str = "main",
        parent: str = "",
        title: str = "Change",
        at: int = 1700000000,
    ) -> str:
        """On top of `parent`, or of nothing; None deletes. The new commit's id."""
        stream = bytearray(f"commit refs/heads/{branch}\nmark :1\n".encode())
        stream += f"committer Test <test@localhost> {at} +0000\n".encode()
        stream += _data(title.encode())
        if parent:
            stream += f"from {parent}\n".encode()
        else:
            stream += b"deleteall\n"
        for path, entry in files.items():
            stream += _change(path if isinstance(path, bytes) else path.encode(), entry)
        self._import(bytes(stream))
        return self._git("rev-parse", f"refs/heads/{branch}").decode().strip()

    def many(self, files: Iterable[tuple[str, bytes]]) -> str:
        """A first commit, written while it is told."""
        process = subprocess.Popen(
            ["git", "--git-dir", str(self.folder), "fast-import", "--quiet", "--force"],
            stdin=subprocess.PIPE,
        )
        assert process.stdin is not None
        with process.stdin as pipe:
            pipe.write(b"commit refs/heads/main\n")
            pipe.write(b"committer Test <test@localhost> 1700000000 +0000\n" + _data(b"Many"))
            for path, data in files:
                pipe.write(_change(path.encode(), data))
        assert process.wait() == 0
        return self._git("rev-parse", "refs/heads/main").decode().strip()

    def lose(self, commit: str, path: str) -> None:
        """The content of a file is there no more."""
        blob = self._git("rev-parse", f"{commit}:{path}").decode().strip()
        packs = list((self.folder / "objects/pack").glob("*.pack"))
        for pack in packs:
            moved = self.folder / pack.name
            pack.rename(moved)
            pack.with_suffix(".idx").unlink()
            self._git("unpack-objects", "-q", stdin=moved.read_bytes())
        (self.folder / "objects" / blob[:2] / blob[2:]).unlink()

    def _import(self, stream: bytes) -> None:
        self._git("fast-import", "--quiet", "--force", stdin=stream)

    def _git(self, *arguments: str, stdin: bytes = b"") -> bytes:
        return subprocess.run(
            ["git", *arguments],
            input=stdin,
            check=True,
            capture_output=True,
            env={**os.environ, "GIT_DIR": str(self.folder)},
        ).stdout


def _data(data: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(data), data)


def _change(path: bytes, entry: Entry | bytes | None) -> bytes:
    quoted = b'"' + b"".join(b"\\%03o" % byte for byte in path) + b'"'
    if entry is None:
        return b"D %s\n" % quoted
    made = entry if isinstance(entry, Entry) else Entry(data=entry)
    if made.mode == MODULE:
        return b"M 160000 %s %s\n" % (made.data, quoted)
    return b"M %s inline %s\n%s" % (made.mode, quoted, _data(made.data))
