"""GitLab says that something happened to a branch: whoever watches it looks sooner."""

from __future__ import annotations

import re

from agent.errors import NotFound
from agent.ports import Store
from agent.run import RunId


class Hints:
    """Nothing of what was said is believed: the run asks GitLab itself."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def changed(self, project: str, branch: str) -> bool:
        """False when no parked run watches that branch."""
        found = re.fullmatch(r"agent/([1-9]\d{0,17})", branch)
        if found is None:
            return False
        run = RunId(int(found[1]))
        try:
            row = await self._store.run(run)
        except NotFound:
            return False
        if row.request.project.lower() != project.lower():
            return False
        return await self._store.hint(run)
