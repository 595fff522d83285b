"""Which lines came to a branch lately: by blame, within what is there of its history."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime

from agent.adapters.git_command import Git
from agent.ports import Landed
from agent.run import CommitSha

HISTORY = 100  #: commits of a branch that are looked at
COMMITS = 5000  #: with those of branches that were merged
FILES = 100
SECONDS = 20.0  #: for the blame of one file
#: The trailer of commits that a night made.
BY_NIGHT = b"nightly maintenance (maintenance)"

_GROUP = re.compile(rb"^([0-9a-f]{40,64}) \d+ (\d+) (\d+)$", re.MULTILINE)


async def landed(git: Git, commit: CommitSha, paths: Collection[str], *, since: datetime) -> Landed:
    """Of these paths."""
    cut = await _cut(git)
    old, gap = await _before(git, commit, cut, since)
    if old == commit:
        return Landed(lines={}, gap=gap)
    reach = f"{old}..{commit}" if old else commit
    fresh = await _fresh(git, reach) - cut
    wanted = set(paths)
    changed = [path for path in await _changed(git, old, commit) if path in wanted]
    if len(changed) > FILES:
        told = f"Of {len(changed):,} files that were changed lately the first {FILES} were read."
        gap = f"{gap} {told}".strip()
    lines: dict[str, frozenset[int]] = {}
    for path in changed[:FILES]:
        if found := await _blame(git, reach, path, fresh):
            lines[path] = found
    return Landed(lines=lines, gap=gap)


async def _cut(git: Git) -> frozenset[bytes]:
    """Commits whose parents were not fetched: what they changed is not known."""
    try:
        return frozenset((git.repository / "shallow").read_bytes().split())
    except FileNotFoundError:
        return frozenset()


async def _before(
    git: Git, commit: CommitSha, cut: Collection[bytes], since: datetime
) -> tuple[CommitSha | None, str]:
    """The newest commit of the branch itself that is older; None: all of it is newer."""
    arguments = ["log", "--first-parent", f"--max-count={HISTORY + 1}", "--format=%H %ct %P"]
    out = await git(*arguments, "--end-of-options", commit)
    last, parents = b"", []
    for line in out.splitlines():
        last, seconds, *parents = line.split()
        if int(seconds) < since.timestamp():
            return CommitSha(last.decode()), ""
    if not parents and last not in cut:
        return None, ""
    seen = f"Only the newest {len(out.splitlines()):,} commits were looked at."
    return CommitSha(last.decode()), seen


async def _fresh(git: Git, reach: str) -> frozenset[bytes]:
    """The commits that count: not those that a night made."""
    trailer = "%(trailers:key=Requested-by,valueonly,separator=%x20)"
    arguments = ["log", f"--max-count={COMMITS}", f"--format=%H %<(80,trunc){trailer}"]
    out = await git(*arguments, "--end-of-options", reach)
    pairs = (line.partition(b" ") for line in out.splitlines())
    return frozenset(commit for commit, _, by in pairs if by.strip() != BY_NIGHT)


async def _changed(git: Git, old: CommitSha | None, commit: CommitSha) -> list[str]:
    if old is None:
        out = await git("ls-tree", "-r", "-z", "--name-only", commit)
    else:
        names = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", "--diff-filter=AM"]
        out = await git(*names, old, commit)
    return [name.decode("utf-8", "surrogateescape") for name in out.split(b"\0")[:-1]]


async def _blame(git: Git, reach: str, path: str, fresh: Collection[bytes]) -> frozenset[int]:
    arguments = ["blame", "--incremental", "--root", reach, "--", path]
    done = await git.run(arguments, seconds=SECONDS)
    groups = ((sha, int(first), int(count)) for sha, first, count in _GROUP.findall(done.out))
    return frozenset(
        number
        for sha, first, count in groups
        if sha in fresh
        for number in range(first, first + count)
    )
