"""People who ask, answer, decide, stop and retry, each by chance."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from oracle import buttons
from road import Road

from playground.slack.interactions import PersonCannot
from playground.slack.records import Message
from playground.slack.socket_mode import NotAcknowledged
from playground.slack.world import Change
from tests.chaos.policy import SHAPES

ASKERS = ("mia", "sam", "lee")
MAINTAINERS = ("kim", "ola", "tom")  #: who ask for nothing; whoever gave a reason may not decide
DECIDERS = ("sam", "lee", "mia", *MAINTAINERS)  #: mia may not, and whoever asked may not either
ROOMS = tuple(f"room-{number}" for number in range(1, 7))  #: Slack has limits for each of them
LOOK = (1, 6)  #: seconds between what somebody sees and what he does
PATIENCE = 20.0  #: seconds until somebody presses again on a card that does not change
PRESSES = 3  #: on Retry, in one thread


@dataclass(kw_only=True)
class People:
    """Everybody who is at work. `calm`: whoever is asked says yes, so that everything ends.
    `quiet`: they go home."""

    road: Road
    draw: Random
    did: Counter[str] = field(default_factory=Counter[str])
    asked: list[Message] = field(default_factory=list[Message])
    calm: bool = False
    quiet: bool = False
    _seen: dict[tuple[str, str], dict[str, Message]] = field(
        default_factory=dict[tuple[str, str], dict[str, Message]]
    )

    async def work(self, runs: int, seconds: float) -> None:
        """`runs` requests come in over this time."""
        end = self.road.slack.world.subscribe(self._hear)
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(runs):
                    mine = Random(f"{self.draw.random()}")
                    group.create_task(self._thread(number, mine.uniform(0, seconds), mine))
        finally:
            end()

    def _hear(self, change: Change) -> None:
        """Keeps the agent's messages by their thread."""
        world = self.road.slack.world
        message = world.messages.get((change.channel, change.ts))
        if message and message.user == world.app.bot_user and message.thread_ts:
            self._seen.setdefault((message.channel, message.thread_ts), {})[message.ts] = message

    async def _thread(self, number: int, after: float, draw: Random) -> None:
        """One request, and all that comes of it until it is left alone."""
        await asyncio.sleep(after)
        shape, user = draw.choice(SHAPES), draw.choice(ASKERS)
        asked = self.road.ask(f"chaos {shape} {number}", user=user, channel=draw.choice(ROOMS))
        self.asked.append(asked)
        self.did[f"asked {shape}"] += 1
        stop = draw.uniform(1, 15) if shape == "stop" else None
        more = draw.uniform(1, 40) if shape == "more" else None
        retries, waited = 0, 0.0
        decided: dict[str, float] = {}  # when somebody pressed on a card last
        while not self.quiet:
            pause = draw.uniform(*LOOK)
            await asyncio.sleep(pause)
            waited += pause
            if stop is not None and waited > stop:
                stop = self._say(asked, "@agent stop", user, "stopped")
            elif more is not None and waited > more:
                more = self._say(asked, f"@agent chaos more {number}", user, "added")
            elif retries < PRESSES and (card := self._with(asked, "run_retry")):
                retries += 1
                await self._press(user, card, "run_retry")
            elif card := self._with(asked, "run_answer_0"):
                await self._answer(asked, card, user, draw)
            elif (card := self._with(asked, "gate_approve")) and (
                waited - decided.get(card.ts, -PATIENCE) >= PATIENCE
            ):
                decided[card.ts] = waited
                await self._decide(card, draw)

    def _say(self, asked: Message, text: str, user: str, what: str) -> None:
        self.road.reply(asked, text, user=user)
        self.did[what] += 1

    def _with(self, asked: Message, button: str) -> Message | None:
        """The newest message of the thread that has this button now."""
        seen = self._seen.get((asked.channel, asked.ts), {})
        world = self.road.slack.world
        now = (world.messages.get((asked.channel, ts)) for ts in sorted(seen, reverse=True))
        return next((each for each in now if each and button in buttons(each)), None)

    async def _answer(self, asked: Message, card: Message, user: str, draw: Random) -> None:
        match draw.choice(("button",) if self.calm else ("button", "reply", "later")):
            case "button":
                await self._press(user, card, f"run_answer_{draw.randrange(2)}")
            case "reply":
                self._say(asked, "Left, I think", user, "answered")
            case _:
                pass

    async def _decide(self, card: Message, draw: Random) -> None:
        user = draw.choice(DECIDERS)
        ways = ("both",) if self.calm else ("yes", "yes", "both", "twice", "no", "later")
        match draw.choice(ways):
            case "yes":
                await self._press(user, card, "gate_approve")
            case "both":
                two = draw.sample(MAINTAINERS, 2)
                await asyncio.gather(*(self._press(u, card, "gate_approve") for u in two))
            case "twice":
                await asyncio.gather(*(self._press(user, card, "gate_approve") for _ in range(2)))
            case "no":
                await self._press(user, card, "gate_reject")
                await asyncio.sleep(0.3)
                then = {"text": "Not this way, please.", "then": draw.choice(("stop", "revise"))}
                await self._submit(user, then)
            case _:
                pass

    async def _press(self, user: str, card: Message, action: str) -> None:
        try:
            await self.road.slack.people.click(user, card, action)
            self.did[action.rstrip("_01")] += 1
        except (NotAcknowledged, PersonCannot):
            self.did["press in vain"] += 1

    async def _submit(self, user: str, values: Mapping[str, str]) -> None:
        people = self.road.slack.people
        try:
            if people.modal(user):
                await people.submit(user, dict(values))
                self.did["submitted"] += 1
        except (NotAcknowledged, PersonCannot):
            self.did["press in vain"] += 1
