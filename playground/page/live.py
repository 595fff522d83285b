"""What changed, as a stream for one person: every thing at most once a moment, newest state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from playground.gitlab.state import Change as ForgeChange
from playground.page.chat import Chat
from playground.page.forge import ForgeView
from playground.slack.records import Change

Json = dict[str, Any]

#: Changes that come closer together than this are told together.
GATHER_SECONDS = 0.05
_JOB_KINDS = frozenset({"job", "build", "pipeline"})


class Live:
    def __init__(self, chat: Chat, forge: ForgeView, me: str) -> None:
        self._chat = chat
        self._forge = forge
        self._me = me
        self._waiting: dict[tuple[str, ...], Change | ForgeChange] = {}
        self._sent: dict[str, Json] = {}
        self._some = asyncio.Event()

    def slack_changed(self, change: Change) -> None:
        self._put((change.kind, change.channel, change.ts, change.id), change)

    def forge_changed(self, change: ForgeChange) -> None:
        self._put(("forge", change.project), change)
        if change.kind in _JOB_KINDS and change.iid is not None:
            self._put(("job", change.project, str(change.iid)), change)

    def _put(self, key: tuple[str, ...], change: Change | ForgeChange) -> None:
        self._waiting[key] = change
        self._some.set()

    async def events(self) -> AsyncGenerator[tuple[str, Json]]:
        """Pairs of event name and data. Subscribed from the first step on."""
        ends = (
            self._chat.world.subscribe(self.slack_changed),
            self._forge.forge.state.subscribe(self.forge_changed),
        )
        try:
            merge_requests = await self._forge.all()
            self._sent = {each["key"]: each for each in merge_requests}
            yield "snapshot", self._chat.snapshot(self._me) | {"merge_requests": merge_requests}
            while True:
                await self._some.wait()
                await asyncio.sleep(GATHER_SECONDS)
                self._some.clear()
                waiting, self._waiting = self._waiting, {}
                for key, change in waiting.items():
                    async for event in self._events(key, change):
                        yield event
        finally:
            for end in ends:
                end()

    async def _events(
        self, key: tuple[str, ...], change: Change | ForgeChange
    ) -> AsyncGenerator[tuple[str, Json]]:
        if isinstance(change, Change):
            if told := self._slack(change):
                yield "change", told
        elif key[0] == "job":
            yield "job", {"project": change.project, "id": change.iid}
        else:
            for item in await self._forge.of_project(change.project):
                if self._sent.get(item["key"]) != item:
                    self._sent[item["key"]] = item
                    yield "change", {"kind": "merge_request", "merge_request": item}

    def _slack(self, change: Change) -> Json | None:
        chat, world = self._chat, self._chat.world
        where = world.channels.get(change.channel)
        if change.channel and (where is None or not chat.sees(self._me, where)):
            return None
        match change.kind:
            case "message" | "message_deleted":
                message = world.messages.get((change.channel, change.ts))
                return (
                    {"kind": "message", "message": chat.message(message)}
                    if message
                    else _gone(change)
                )
            case "ephemeral":
                seen = world.ephemerals.get((change.channel, change.ts))
                if change.user != self._me:
                    return None
                return (
                    {"kind": "message", "message": chat.ephemeral(seen)} if seen else _gone(change)
                )
            case "session":
                session = world.sessions.get((change.channel, change.ts))
                return {"kind": "session", "session": chat.session(session)} if session else None
            case "channel":
                return {"kind": "channel", "channel": chat.channel(where)} if where else None
            case "view":
                if change.user != self._me:
                    return None
                view = world.views.get(change.id)
                if view is not None and view.is_home:
                    return {"kind": "home", "home": chat.home(self._me)}
                return {"kind": "modals", "modals": chat.modals(self._me)}
            case "prompts":
                return {"kind": "prompts", "prompts": chat.prompts(self._me)}
            case "file":
                return None


def _gone(change: Change) -> Json:
    return {"kind": "message_deleted", "channel": change.channel, "ts": change.ts}
