"""What a run stands on, brought to the host that goes on with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agent import failpoints
from agent.branch import on_branch
from agent.errors import ForgeUnavailable
from agent.outage import patient
from agent.ports import Origin
from agent.rebuild import Rebuild
from agent.run import CommitSha
from agent.work import Hold


async def basis(hold: Hold, origin: Callable[[str], Awaitable[Origin]]) -> tuple[CommitSha, str]:
    """The commit that the run builds on, with its branch: chosen once, and kept for life. With it
    comes what another host has made of it."""
    request, state, vault = hold.state.request, hold.state, hold.vault

    async def chosen() -> tuple[CommitSha, str]:
        where = await origin(request.project)
        failpoints.reached("clone", "before_call", ForgeUnavailable)
        fetched = await vault.fetch(where, request.base_branch)
        failpoints.reached("clone", "after_call", ForgeUnavailable)
        return fetched

    async def made() -> tuple[CommitSha, str]:
        assert state.workspace is not None
        rebuild = Rebuild(
            vault=vault,
            origin=lambda: origin(request.project),
            events=hold.journal.events,
            body=hold.journal.body,
        )
        await rebuild.base()
        if state.checkpoint is not None:
            await rebuild.tree(state.checkpoint.tree)
        if (parent := on_branch(hold)) is not None:
            await rebuild.commit(parent.commit)
        return state.workspace.base, state.workspace.branch

    return await patient(hold.clock, request.project, made if state.workspace else chosen)
