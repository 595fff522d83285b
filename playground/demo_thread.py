"""A thread of the playground as it is shown in the terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.live import Live

from playground.demo_view import card, edited, message, plain
from playground.slack.records import Message
from playground.town import Playground

CARD_SECONDS = 5.0  #: for the last edit of the card, once the run has ended
DONE, NEEDS_A_PERSON, STOPPED = "white_check_mark", "warning", "octagonal_sign"
_ENDS = ("done", "needs a person", "failed", "stopped")

T = TypeVar("T")


@dataclass
class Thread:
    """What has been shown of one thread: the agent's first message is the status card."""

    playground: Playground
    console: Console

    def __post_init__(self) -> None:
        self._said: dict[str, str] = {}
        self._card: Message | None = None
        self.root: Message | None = None

    async def follow(self, request: str) -> str:
        """Until the run ends. Returns the agent's last reaction on the request."""
        self.root = self.playground.slack.people.post("mia", "billing", request)
        return await self.ended()

    async def ended(self) -> str:
        outcome = await self.until(self._outcome)
        with suppress(TimeoutError):
            async with asyncio.timeout(CARD_SECONDS):
                await self.until(lambda _: self._card_is_final())
        if self.console.is_terminal and self._card is not None:
            self.console.print(card(self.playground.world, self._card))
        return outcome

    async def until(self, found: Callable[[list[Message]], T]) -> T:
        """Shows what happens until there is something."""
        world, root = self.playground.world, self.root
        assert root is not None
        changed = asyncio.Event()
        end = world.subscribe(lambda _: changed.set())
        failed = asyncio.create_task(self.playground.service.ended())
        failed.add_done_callback(lambda _: changed.set())
        shown = self.console.is_terminal  # the card only while something is awaited
        live = Live(console=self.console, auto_refresh=False, transient=True) if shown else None
        try:
            with live or nullcontext():
                while True:
                    changed.clear()
                    messages = world.thread(root.channel, root.ts)
                    for each in messages:
                        self._show(each, live)
                    if result := found(messages):
                        return result
                    if failed.done():
                        failed.result()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(1):
                            await changed.wait()
                    await asyncio.sleep(0.1)
        finally:
            end()
            failed.cancel()

    def _outcome(self, messages: list[Message]) -> str:
        agent = self.playground.world.app.bot_user
        for name in (DONE, NEEDS_A_PERSON, STOPPED):
            # the last word comes after the mark on the request, as a message of its own
            if agent in messages[0].reactions.get(name, ()) and len(messages) > 2:
                return name
        return ""

    def _card_is_final(self) -> bool:
        """Its last edit comes after the mark on the request."""
        return bool(self._card and any(f": {end}" in self._card.text for end in _ENDS))

    def _show(self, item: Message, live: Live | None) -> None:
        """A new message is printed; the status card stays below and changes in place."""
        world = self.playground.world
        agents = item.user == world.app.bot_user
        if agents and (self._card is None or self._card.ts == item.ts):
            before, self._card = self._card, item
            if live is not None:
                live.update(card(world, item), refresh=True)
            elif before is None or plain(world, before) != plain(world, item):
                for line in plain(world, item):
                    if self._said.get(line) is None:
                        self._said[line] = line
                        self.console.print(f"  {line}", markup=False, soft_wrap=True)
        elif item.ts not in self._said:
            self._said[item.ts] = item.text
            self.console.print(message(world, item))
        elif self._said[item.ts] != item.text:
            self._said[item.ts] = item.text
            self.console.print(edited(item))
