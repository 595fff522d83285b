"""Whether a change carries a credential of this service away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agent.canaries import Canaries
from agent.difference import FileDiff
from agent.ports import Vault
from agent.run import CommitSha, TreeSha

LARGEST = 32 << 20  #: bytes of a binary file that are searched


async def leaks(canaries: Canaries, vault: Vault, tree: TreeSha, diffs: Sequence[FileDiff]) -> bool:
    """In names, in lines that are added, in binary files. What the base holds and the change
    takes away is no leak."""
    if not canaries.secrets:
        return False
    names = (name for diff in diffs if (name := diff.new))
    if await asyncio.to_thread(canaries.found, "\n".join(names)):
        return True
    added = "\n".join(line.text for diff in diffs for line in diff.added)
    if await asyncio.to_thread(canaries.found, added):
        return True
    for diff in diffs:
        if diff.binary and diff.new:
            data = await vault.read(CommitSha(tree), diff.new, limit=LARGEST)
            if await asyncio.to_thread(canaries.found, data or b""):
                return True
    return False
