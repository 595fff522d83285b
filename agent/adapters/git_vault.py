"""The bare repository outside every sandbox, the only git that the host runs.

A workspace is only ever a work tree of it: no `.git` in a workspace is opened, and nothing of
a workspace's configuration, hooks or filters can run here.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import re
import shutil
import tempfile
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from agent.adapters.git_command import (
    RECEIVE_PACK,
    UPLOAD_ANY,
    UPLOAD_PACK,
    Git,
    remote_error,
    words,
    write_askpass,
)
from agent.adapters.git_landed import HISTORY, landed
from agent.adapters.git_remote import object_id, ref_of, remote_refs, talk
from agent.adapters.git_sound import sound, throw_away
from agent.adapters.git_worktree import Collector
from agent.adapters.read_again import read_again
from agent.errors import Conflict, ForgeRejected, GitFailed, NotFound, Refused
from agent.ports import Author, Collected, Landed, Origin
from agent.run import CommitSha, TreeSha

_NOT_THERE = re.compile(r"not our ref|unadvertised object|couldn't find remote ref", re.IGNORECASE)


class GitVaults:
    """One vault a project, under one private folder.

    `depth`: how many commits of a branch are fetched; None fetches its whole history. A
    workspace has no history, and one commit is enough to build on and to push from.
    """

    def __init__(self, folder: Path, *, depth: int | None = 1) -> None:
        self.folder = folder
        self.depth = depth
        self._vaults: dict[str, GitVault] = {}

    def of(self, project: str) -> GitVault:
        """The vault of a project, named by its path with namespace or its local path."""
        if project not in self._vaults:
            name = re.sub(r"[^A-Za-z0-9]+", "-", project).strip("-")[-40:]
            digest = hashlib.sha256(project.encode()).hexdigest()[:16]
            folder = self.folder / f"{name}-{digest}.git"
            self._vaults[project] = GitVault(folder, depth=self.depth)
        return self._vaults[project]


class GitVault:
    """See `agent.ports.Vault`. `repository` is made when it is first needed."""

    def __init__(self, repository: Path, *, depth: int | None = 1) -> None:
        self._git = Git(repository)
        self._depth = depth
        self._collectors: dict[Path, Collector] = {}
        self._lock = asyncio.Lock()

    @property
    def repository(self) -> Path:
        return self._git.repository

    # --- from and to the origin ---

    @read_again
    async def fetch(self, origin: Origin, branch: str | None) -> tuple[CommitSha, str]:
        """Newest commit of the branch and the branch's name; `HEAD` when an origin on this
        machine stands on no branch."""
        async with self._locked():
            name, commit = await self._branch(origin, branch)
            if not await self.has(commit):
                commit = await self._fetch(origin, name)
            return commit, name

    @read_again
    async def fetch_commit(self, origin: Origin, commit: CommitSha) -> None:
        async with self._locked():
            if await self.has(commit):
                return
            arguments = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"]
            if self._depth is not None:
                arguments.append(f"--depth={self._depth}")
            if origin.url.startswith("/"):
                arguments.append(UPLOAD_ANY)
            arguments += ["--", origin.url, object_id(commit)]
            done = await talk(self._git, self._askpass, "fetch", origin, arguments)
            if done.code and _NOT_THERE.search(done.err):
                raise NotFound(f"{origin.url} has no commit {commit[:8]} any more.", status=404)
            if done.code:
                raise remote_error("fetch", origin, done.err)

    @read_again
    async def remote_head(self, origin: Origin, branch: str) -> CommitSha | None:
        await self._open()
        return (await remote_refs(self._git, self._askpass, origin, branch))[1].get(ref_of(branch))

    async def push(
        self, origin: Origin, commit: CommitSha, branch: str, *, expected: CommitSha | None
    ) -> None:
        await self._open()
        ref = ref_of(branch)
        arguments = ["push", "--porcelain", "--no-verify", "--no-follow-tags"]
        if origin.url.startswith("/"):
            arguments.append(RECEIVE_PACK)
        arguments += [f"--force-with-lease={ref}:{expected or ''}", "--", origin.url]
        done = await talk(
            self._git, self._askpass, "push", origin, [*arguments, f"{object_id(commit)}:{ref}"]
        )
        refusal = re.search(rb"^!\t[^\t]*\t(.*)$", done.out, re.MULTILINE)
        if refusal:
            reason = refusal[1].decode("utf-8", "replace")
            if reason.startswith("[rejected]"):
                raise Conflict(
                    f"The branch {branch} was moved by somebody else; nothing was pushed.",
                    status=409,
                )
            said = re.findall(r"^remote:\s*(\S.*)$", done.err, re.MULTILINE)
            sentence = words(" ".join(said), origin.token) if said else reason
            raise ForgeRejected(f"The push to {branch} was refused: {sentence}", status=403)
        if done.code:
            raise remote_error("push", origin, done.err)

    async def _branch(self, origin: Origin, branch: str | None) -> tuple[str, CommitSha]:
        default, refs = await remote_refs(self._git, self._askpass, origin, branch)
        if branch is None:
            branch = default or "HEAD"
        commit = refs.get(ref_of(branch))
        if commit:
            return branch, commit
        if not refs:
            _, refs = await remote_refs(self._git, self._askpass, origin, None, every=True)
        if not refs:
            raise Refused(
                "The repository is empty: there is no commit to begin from. "
                "Push a first commit, then ask again."
            )
        raise NotFound(f"There is no branch {branch} in {origin.url}.", status=404)

    async def _fetch(self, origin: Origin, branch: str, *, depth: int | None = None) -> CommitSha:
        # A digest as name: `a` may become `a/b` in the origin, which refs of ours cannot follow.
        kept = f"refs/fetched/{hashlib.sha256(branch.encode()).hexdigest()[:32]}"
        arguments = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--force"]
        if self._depth is not None:
            arguments.append(f"--depth={depth or self._depth}")
        if origin.url.startswith("/"):
            arguments.append(UPLOAD_PACK)
        arguments += ["--", origin.url, f"+{ref_of(branch)}:{kept}"]
        done = await talk(self._git, self._askpass, "fetch", origin, arguments)
        if done.code:
            raise remote_error("fetch", origin, done.err)
        return CommitSha((await self._git("rev-parse", kept)).decode().strip())

    # --- objects ---

    async def has(self, treeish: str) -> bool:
        await self._open()
        done = await self._git.run(["cat-file", "-e", f"{object_id(treeish)}^{{tree}}"])
        return done.code == 0

    async def read(self, commit: CommitSha, path: str, *, limit: int = 65_536) -> bytes | None:
        """The first bytes of a file; links inside the tree are followed."""
        await self._open()
        name = f"{object_id(commit)}:{path}".encode("utf-8", "surrogateescape")
        done = await self._git.run(
            ["cat-file", "--batch", "--follow-symlinks", "-z"], stdin=name + b"\0", keep=limit + 100
        )
        header, _, content = done.out.partition(b"\n")
        found = re.fullmatch(rb"[0-9a-f]+ blob (\d+)", header)
        return content[: min(int(found[1]), limit)] if found else None

    async def list(self, treeish: str) -> Sequence[str]:
        await self._open()
        out = await self._git("ls-tree", "-r", "-z", "--name-only", object_id(treeish))
        return [name.decode("utf-8", "surrogateescape") for name in out.split(b"\0")[:-1]]

    async def commit(
        self, tree: TreeSha, parent: CommitSha, message: str, *, author: Author, at: datetime
    ) -> CommitSha:
        await self._open()
        date = f"@{int(at.timestamp())} +0000"
        identity = {
            f"GIT_{role}_{part}": value
            for role in ("AUTHOR", "COMMITTER")
            for part, value in (("NAME", author.name), ("EMAIL", author.email), ("DATE", date))
        }
        text = message.replace("\0", "").encode("utf-8", "replace")
        out = await self._git(
            "commit-tree",
            object_id(tree),
            "-p",
            object_id(parent),
            stdin=text or b"\n",
            env=identity,
        )
        return CommitSha(out.decode().strip())

    async def record(self, commit: CommitSha) -> bytes:
        await self._open()
        return await self._git("cat-file", "commit", object_id(commit))

    async def commit_again(self, record: bytes) -> CommitSha:
        await self._open()
        out = await self._git("hash-object", "-t", "commit", "-w", "--stdin", stdin=record)
        return CommitSha(out.decode().strip())

    async def landed(
        self,
        origin: Origin,
        branch: str,
        commit: CommitSha,
        paths: Collection[str],
        *,
        since: datetime,
    ) -> Landed:
        if self._depth is not None:
            async with self._locked():
                await self._fetch(origin, branch, depth=HISTORY)
        return await landed(self._git, commit, paths, since=since)

    # --- work trees ---

    async def checkout(self, treeish: str, folder: Path) -> Sequence[str]:
        await self._open()
        if any(folder.iterdir()):
            raise GitFailed(f"A workspace is only made in an empty folder; {folder} is not empty.")
        return await self._collector(folder).fill(object_id(treeish))

    async def collect(self, folder: Path, base: CommitSha) -> Collected:
        await self._open()
        return await self._collector(folder).collect(object_id(base))

    async def restore(self, base: CommitSha, patch: str) -> TreeSha:
        await self._open()
        with tempfile.TemporaryDirectory(prefix="restore-", dir=self._git.repository) as scratch:
            index = Path(scratch) / "index"
            await self._git("read-tree", object_id(base), index=index)
            if patch:
                await self._git(
                    "apply",
                    "--cached",
                    "--whitespace=nowarn",
                    "-",
                    stdin=patch.encode("utf-8", "surrogateescape"),
                    index=index,
                )
            return TreeSha((await self._git("write-tree", index=index)).decode().strip())

    def forget(self, folder: Path) -> None:
        """Drops what is kept for a workspace that is gone."""
        self._collector(folder).index.unlink(missing_ok=True)
        self._collectors.pop(folder, None)

    def _collector(self, folder: Path) -> Collector:
        if folder not in self._collectors:
            self._collectors[folder] = Collector(self._git, folder)
        return self._collectors[folder]

    # --- the repository itself ---

    async def lost(self, commit: CommitSha | None) -> bool:
        try:
            async with self._locked():
                if not await sound(self._git):
                    throw_away(self._git.repository)
                    return True
            return commit is not None and not await self.has(commit)
        except (GitFailed, OSError):  # a full disk, say: what failed first says more
            return False

    @property
    def _askpass(self) -> Path:
        return self._git.repository.parent / "askpass"

    async def _open(self) -> None:
        if not self._made:
            await self._make()
        (self._git.repository / "worktrees-index").mkdir(exist_ok=True)
        write_askpass(self._askpass)

    @property
    def _made(self) -> bool:
        return (self._git.repository / "objects" / "info").exists()  # what git makes last

    async def _make(self) -> None:
        repository = self._git.repository
        repository.parent.mkdir(parents=True, exist_ok=True)
        with repository.with_suffix(".lock-file").open("w") as file:
            await asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_EX)
            if self._made:
                return
            # whoever made it was ended on the way: nothing has been kept in it
            shutil.rmtree(repository, ignore_errors=True)
            repository.mkdir(mode=0o700)
            await self._git("init", "--quiet", "--bare", "--template=", str(repository))

    @asynccontextmanager
    async def _locked(self) -> AsyncGenerator[None]:
        """One fetch at a time, of all processes of this machine."""
        await self._open()
        async with self._lock:
            with (self._git.repository / "fetch.lock-file").open("w") as file:
                await asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_EX)
                # Whoever held these was killed: nobody fetches but us.
                for stale in ("shallow.lock", "packed-refs.lock"):
                    (self._git.repository / stale).unlink(missing_ok=True)
                for stale in (self._git.repository / "refs").rglob("*.lock"):
                    stale.unlink(missing_ok=True)
                yield
