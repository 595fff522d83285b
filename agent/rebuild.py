"""What a run has made, made again from its log on a host that does not have it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from agent.errors import GitFailed, NotFound, Refused
from agent.events import CheckpointTaken, Committed, RunEvent, WorkspaceReady
from agent.ports import Origin, Vault
from agent.run import CommitSha, Digest, TreeSha


@dataclass(frozen=True, kw_only=True)
class Rebuild:
    """Each deed does nothing where the vault has the thing already."""

    vault: Vault
    origin: Callable[[], Awaitable[Origin]]
    events: Sequence[RunEvent]
    body: Callable[[Digest], Awaitable[bytes]]

    async def base(self) -> CommitSha:
        """The commit that the run builds on."""
        base = self._base()
        try:
            await self._fetched(base)
        except NotFound as error:
            raise Refused(
                f"The commit {base[:8]}, on which this run builds, is not at GitLab any more: its "
                "branch was rewritten. Ask again for a run on what stands there now."
            ) from error
        return base

    async def tree(self, tree: TreeSha) -> None:
        """Of a checkpoint."""
        if await self.vault.has(tree):
            return
        base = await self.base()
        for event in reversed(self.events):
            match event.payload:
                case CheckpointTaken() as taken if taken.tree == tree:
                    patch = (await self.body(taken.patch)).decode("utf-8", "surrogateescape")
                    _same(await self.vault.restore(base, patch), tree, "files")
                    return
                case _:
                    pass
        raise GitFailed(f"No checkpoint of this run has the files {tree[:8]}.")

    async def commit(self, commit: CommitSha) -> None:
        """One of the run's own, with those of its own that it stands on."""
        if await self.vault.has(commit):
            return
        made = self._made(commit)
        if made is None or made.recipe is None:
            await self._from_its_branch(commit)
            return
        record = await self.body(made.recipe)
        for parent in _parents(record):
            if self._made(parent):
                await self.commit(parent)
            elif parent == self._base():
                await self.base()
            else:
                await self._fetched(parent)
        await self.tree(made.tree)
        _same(await self.vault.commit_again(record), commit, "commit")

    async def _from_its_branch(self, commit: CommitSha) -> None:
        """Of a time when the log did not hold what makes it: it is there if it was pushed."""
        try:
            await self._fetched(commit)
        except NotFound as error:
            raise Refused(
                f"The commit {commit[:8]} is not on this machine. "
                "Its checkpoint is kept; `retry` makes it anew."
            ) from error

    async def _fetched(self, commit: CommitSha) -> None:
        if not await self.vault.has(commit):
            await self.vault.fetch_commit(await self.origin(), commit)

    def _base(self) -> CommitSha:
        for event in reversed(self.events):
            match event.payload:
                case WorkspaceReady(base=base):
                    return base
                case _:
                    pass
        raise GitFailed("This run has no commit to build on yet.")

    def _made(self, commit: CommitSha) -> Committed | None:
        made = (each.payload for each in self.events if isinstance(each.payload, Committed))
        return next((each for each in made if each.commit == commit), None)


def _parents(record: bytes) -> list[CommitSha]:
    head = record.partition(b"\n\n")[0].splitlines()
    return [CommitSha(line[7:].decode()) for line in head if line.startswith(b"parent ")]


def _same(made: str, wanted: str, what: str) -> None:
    if made != wanted:
        raise GitFailed(f"The log of this run gives the {what} {made[:8]}, not {wanted[:8]}.")
