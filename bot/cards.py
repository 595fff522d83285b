"""Where the requests stand that people decide about."""

from __future__ import annotations

from agent.gate import Place
from agent.gatekeeper import Cards
from agent.ports import Store
from agent.run import RunId
from bot.presenter import Threads


def places(store: Store, threads: Threads) -> Cards:
    """By the slot of the message."""

    async def place(run: RunId, slot: str) -> Place | None:
        standing = (await threads.slots(run)).get(slot)
        if standing is None or not standing.ts:
            return None
        thread = (await store.run(run)).request.thread
        return Place(team=thread.team, channel=thread.channel, message=standing.ts)

    return place
