"""What a merge request brings: its commits, and its difference to the byte."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agent.adapters.gitlab_client import Get
from agent.adapters.gitlab_paging import whole
from agent.adapters.gitlab_payloads import Json, text
from agent.errors import ForgeRejected
from agent.ports import ForgeCommit
from agent.run import CommitSha

MOST = 20_000_000  #: bytes of a difference
LINES = 250_000  #: of a difference: each takes far more memory than its bytes
_MOST = 2000
_ASKER = re.compile(r"^Requested-by: [^()\n]{0,200}\((\S{1,200})\)$", re.MULTILINE)
_NO_FILE = "/dev/null"


class Gathered:
    """The pieces of a difference, as long as it can be shown at all."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._lines = 0

    def add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > MOST:
            raise ForgeRejected(
                f"The difference of the merge request is larger than {MOST // 1_000_000} MB, so it "
                "cannot be shown in one piece. Divide the change."
            )
        self._lines += piece.count(b"\n")
        if self._lines > LINES:
            raise ForgeRejected(
                f"The difference of the merge request has more than {LINES:,} lines, so it cannot "
                "be shown in one piece. Divide the change."
            )
        self._pieces.append(piece)

    def whole(self) -> bytes:
        return b"".join(self._pieces)


async def difference(get: Get, path: str) -> bytes:
    """File by file, for a GitLab that does not give it in one piece; `path` is the merge
    request's. The same change gives the same bytes."""
    gathered = Gathered()
    for found in await _of(get, f"{path}/diffs", "files"):
        if found.get("too_large") or found.get("collapsed"):
            raise ForgeRejected(
                f"GitLab does not show the whole difference of {text(found, 'new_path')}: it is "
                "too large. Divide the change, or merge it at GitLab."
            )
        gathered.add(_file(found))
    return gathered.whole()


async def commits(get: Get, path: str) -> Sequence[ForgeCommit]:
    return [_commit(found) for found in await _of(get, f"{path}/commits", "commits")]


async def _of(get: Get, path: str, what: str) -> Sequence[Json]:
    too_many = (
        f"The merge request has {_MOST:,} {what} or more: too many to look at. "
        "Divide the change, or merge it at GitLab."
    )
    return await whole(get, path, most=_MOST, too_many=too_many)


def _commit(found: Json) -> ForgeCommit:
    def both(what: str) -> set[str]:
        return {text(found, f"{who}_{what}") for who in ("author", "committer")} - {""}

    return ForgeCommit(
        sha=CommitSha(text(found, "id")),
        title=text(found, "title"),
        names=frozenset(both("name")),
        emails=frozenset(each.lower() for each in both("email")),
        askers=frozenset(_ASKER.findall(text(found, "message"))),
    )


def _file(found: Json) -> bytes:
    """As git writes it, without the names of blobs."""
    old, new = text(found, "old_path"), text(found, "new_path")
    before, after = text(found, "a_mode"), text(found, "b_mode")
    made, gone = bool(found.get("new_file")), bool(found.get("deleted_file"))
    lines = [f"diff --git a/{old} b/{new}"]
    if made:
        lines.append(f"new file mode {after}")
    elif gone:
        lines.append(f"deleted file mode {before}")
    elif before != after:
        lines += [f"old mode {before}", f"new mode {after}"]
    if found.get("renamed_file"):
        lines += [f"rename from {old}", f"rename to {new}"]
    body = text(found, "diff")
    if body.startswith("@@"):
        lines += [
            f"--- {_NO_FILE if made else 'a/' + old}",
            f"+++ {_NO_FILE if gone else 'b/' + new}",
        ]
    return ("\n".join([*lines, body.rstrip("\n")]).rstrip("\n") + "\n").encode()
