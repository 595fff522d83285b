"""A repository's past up to one commit, in a bare repository of its own."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.adapters.git_command import REMOTE_SECONDS, UPLOAD_ANY, Git, words
from agent.adapters.git_vault import GitVault
from agent.errors import GitFailed
from agent.run import CommitSha, TreeSha

BRANCH = "main"


class GitGround:
    """Implements `agent.evaluation.contest.Ground`. Only what the base commit is made of is
    copied: what came after it is not in the object store, not even by its id."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self.vault = GitVault(folder)
        self._git = Git(folder)

    async def lay(self, source: Path, base: CommitSha) -> None:
        self.path.mkdir(parents=True)
        await self._git(
            "init", "--quiet", "--bare", "--template=", f"--initial-branch={BRANCH}", "."
        )
        arguments = ["-c", "transfer.fsckObjects=false", "fetch", "--quiet", "--no-tags"]
        arguments += ["--no-write-fetch-head", UPLOAD_ANY]
        what = ["--", str(source.resolve()), f"{base}:refs/heads/{BRANCH}"]
        said = ""
        for depth in ([], ["--depth=1"]):  # of a clone without all of its past, what there is
            done = await self._git.run(
                [*arguments, *depth, *what],
                env={"GIT_ALLOW_PROTOCOL": "file"},
                seconds=REMOTE_SECONDS,
            )
            if not done.code:
                return
            said = said or words(done.err)
        raise GitFailed(f"The commit {base[:12]} cannot be had from {source}: {said}")

    async def refuses(self, base: CommitSha, patch: str) -> str:
        """Why the patch does not apply; writes nothing into the repository."""
        async with self._index(base) as index:
            done = await self._git.run(
                ["apply", "--cached", "--check", "--whitespace=nowarn", "-"],
                stdin=patch.encode("utf-8", "surrogateescape"),
                index=index,
            )
        return words(done.err) if done.code else ""

    async def patch(self, base: CommitSha, commit: CommitSha) -> str:
        out = await self._git(
            *("diff", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv"),
            *(base, commit),
        )
        return out.decode("utf-8", "replace")

    async def judged(self, base: CommitSha, commit: CommitSha, test_patch: str) -> TreeSha:
        """The commit's tree, each file that the test patch touches as the patch makes it."""
        tests = await self.vault.restore(base, test_patch)
        touched = await self._git(
            "diff-tree", "-r", "-z", "--name-only", "--no-renames", base, tests
        )
        entries: dict[bytes, bytes] = {}
        for entry in (await self._git("ls-tree", "-r", "-z", tests)).split(b"\0")[:-1]:
            entries[entry.partition(b"\t")[2]] = entry
        lines = [
            entries.get(path, f"0 {'0' * len(base)}\t".encode() + path)
            for path in touched.split(b"\0")[:-1]
        ]
        async with self._index(commit) as index:
            await self._git(
                *("update-index", "-z", "--replace", "--index-info"),
                stdin=b"".join(line + b"\0" for line in lines),
                index=index,
            )
            return TreeSha((await self._git("write-tree", index=index)).decode().strip())

    @asynccontextmanager
    async def _index(self, treeish: str) -> AsyncGenerator[Path]:
        with tempfile.TemporaryDirectory(prefix="index-", dir=self.path) as scratch:
            index = Path(scratch) / "index"
            await self._git("read-tree", treeish, index=index)
            yield index
