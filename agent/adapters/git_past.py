"""The past of a project, which its vault does not have: commits and the paths that they changed.

For an origin at a URL it is fetched into a repository of its own, without any file's content, so
that the vault stays a plain one of a single commit. An origin on this machine is read in place.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import shutil
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from agent.adapters.git_code import GitCode, git_folder
from agent.adapters.git_command import Git, remote, remote_error, write_askpass
from agent.errors import GitFailed
from agent.ports import Origin
from agent.retrieval.history import Change
from agent.run import CommitSha

COMMITS = 2000
SECONDS = 120.0
BELIEVED = 7 * 86_400.0  #: seconds until an origin that sent files all the same is asked again
_AGAIN = 0.2  #: seconds between looks whether another process is done
_REFUSED = "The origin sends all files with its history; that is too much."


class VaultCode(GitCode):
    """Of a shallow clone: its only commit seems to have made every file, so that nothing but its
    time is told."""

    async def changes(
        self, commit: CommitSha, most: int, without: CommitSha | None = None
    ) -> Sequence[Change]:
        return await self.moment(commit)


class GitPast:
    def __init__(
        self,
        folder: Path,
        origin: Callable[[str], Awaitable[Origin]],
        *,
        commits: int = COMMITS,
    ) -> None:
        self._folder = folder
        self._origin = origin
        self._commits = commits
        self._locks: dict[Path, asyncio.Lock] = {}

    async def changes(self, project: str, commit: CommitSha) -> Sequence[Change]:
        """Newest first. Raises `GitFailed`, `ForgeUnavailable`, `ForgeRejected`."""
        origin = await self._origin(project)
        if origin.url.startswith("/"):
            local = GitCode(await git_folder(Path(origin.url)))
            return await local.changes(commit, self._commits)
        repository = self._repository(project)
        async with self._alone(repository):
            await self._fetched(Git(repository), origin, commit)
            found = await GitCode(repository).changes(commit, self._commits)
            oldest = await asyncio.to_thread(_oldest, repository)
        told = [each if each.id not in oldest else replace(each, paths=()) for each in found]
        return [each for each in told if each.paths or each.id == commit]

    async def landed(
        self, project: str, commit: CommitSha, wanted: Collection[str]
    ) -> Sequence[Change]:
        """What these commits brought to the past of `commit`, as far as that was fetched."""
        repository = self._repository(project)
        async with self._alone(repository):
            if not (repository / "without-files").exists():
                return ()
            oldest = await asyncio.to_thread(_oldest, repository)
            return await GitCode(repository).landed(commit, set(wanted) - oldest)

    def _repository(self, project: str) -> Path:
        digest = hashlib.sha256(project.encode()).hexdigest()[:32]
        return self._folder / f"{digest}.git"

    @asynccontextmanager
    async def _alone(self, repository: Path) -> AsyncGenerator[None]:
        """Of all processes of this machine."""
        self._folder.mkdir(parents=True, exist_ok=True)
        async with self._locks.setdefault(repository, asyncio.Lock()):
            with repository.with_suffix(".lock-file").open("w") as file:
                while not _locked(file):  # noqa: ASYNC110  (no event tells of another process)
                    await asyncio.sleep(_AGAIN)
                yield

    async def _fetched(self, git: Git, origin: Origin, commit: CommitSha) -> None:
        marked = git.repository / "without-files"
        refused = git.repository.with_suffix(".refused")
        if refused.exists() and time.time() - refused.stat().st_mtime < BELIEVED:
            raise GitFailed(_REFUSED)
        if marked.exists():
            await asyncio.to_thread(_clean, git.repository)
        else:
            await asyncio.to_thread(_remove, git.repository)
            git.repository.mkdir(mode=0o700)
            await git("init", "--quiet", "--bare", "--template=", str(git.repository))
            await self._fetch(git, origin, commit, 1)
            listed = ("--batch-all-objects", "--unordered", "--batch-check=%(objecttype)")
            if b"blob" in await git("cat-file", *listed):
                refused.touch()
                await asyncio.to_thread(_remove, git.repository)
                raise GitFailed(_REFUSED)
            marked.touch()
        await self._fetch(git, origin, commit, self._commits)

    async def _fetch(self, git: Git, origin: Origin, commit: CommitSha, depth: int) -> None:
        askpass = self._folder / "askpass"
        write_askpass(askpass)
        arguments = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--force"]
        arguments += ["--filter=blob:none", f"--depth={depth}", "--", origin.url]
        environment = remote(origin, askpass)
        try:
            done = await git.run(
                [*arguments, f"+{commit}:refs/past/newest"], env=environment, seconds=SECONDS
            )
        except GitFailed as error:
            raise remote_error("fetch", origin, str(error)) from error
        if done.code:
            raise remote_error("fetch", origin, done.err)


def _locked(file: IO[str]) -> bool:
    """Whoever waited in `flock` could not be told to stop, and would keep a thread."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _clean(repository: Path) -> None:
    """Whoever left these was killed: nobody fetches but us."""
    packs = (repository / "objects/pack").glob("tmp_*")
    locks = (*repository.glob("*.lock"), *(repository / "refs").rglob("*.lock"))
    for left in (*packs, *locks):
        left.unlink(missing_ok=True)


def _oldest(repository: Path) -> set[str]:
    """Commits whose parents were not fetched: they seem to have made every file."""
    try:
        return set((repository / "shallow").read_text().split())
    except FileNotFoundError:
        return set()


def _remove(repository: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(repository)
