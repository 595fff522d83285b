"""A change on its way to its target over the whole road, with people who press real buttons."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from oracle import buttons, holds
from road import Road, until

from agent.events import GateRefused
from agent.run import ENDED, RunId, RunStatus
from agent.state import RunState
from playground import seed
from playground.gitlab.records import User as Account
from playground.slack.records import Message
from playground.slack.socket_mode import NotAcknowledged

UNIT = """
stages: [test, deploy]
unit:
  stage: test
  script: ["true"]
"""
DEPLOYS = (
    UNIT
    + """
deploy-production:
  stage: deploy
  script: ["true"]
  environment: production
  rules:
    - if: $CI_COMMIT_BRANCH == "main"
      when: manual
"""
)
ALONE = "approvals = 0\n"
MERGE = "PUT /projects/:id/merge_requests/:iid/merge"
RIGHTS = "GET /projects/:id/members/all/:user_id"
HEAR = "GET /projects/:id/merge_requests/:iid"


@dataclass(kw_only=True)
class Crossing:
    """`asked`: the request of the newest run."""

    road: Road
    asked: Message | None = None

    def rules(self, main: str = "", production: str | None = None) -> None:
        lines = '[defaults]\ntest_command = "bash check.sh"\n'
        lines += f"[defaults.targets.main]\n{main}"
        if production is not None:
            jobs = "jobs = ['deploy-production']"
            lines += f"[defaults.environments.production]\n{jobs}\n{production}"
        self.road.config(lines)

    def ask(self) -> Message:
        self.asked = self.road.ask()
        return self.asked

    # --- the card

    async def card(self, subject: str = "main", seconds: float = 40) -> Message:
        """As soon as it stands in the thread with its buttons, and the service knows where: a click
        before that is taken for one on a copy."""
        await until(lambda: self._known(subject), seconds, self.road.story)
        return self.cards(subject)[-1]

    async def _known(self, subject: str) -> bool:
        cards = self.cards(subject)
        if not cards:
            return False
        about: dict[str, Any] = (cards[-1].metadata or {}).get("event_payload") or {}
        slots = await self.road.db.threads.slots(RunId(about["run"]))
        return any(slot.ts == cards[-1].ts for slot in slots.values())

    async def gate(self, subject: str = "main") -> Message:
        """The card of a run that is asked for now."""
        self.ask()
        return await self.card(subject)

    def cards(self, subject: str = "main") -> list[Message]:
        return [
            each
            for each in self.road.slack.world.messages.values()
            if "gate_approve" in buttons(each) and f"needed: {subject}." in each.text
        ]

    # --- people

    async def press(self, user: str, card: Message, action: str = "gate_approve") -> bool:
        """False: Slack shows a warning, since nobody took the click."""
        try:
            await self.road.slack.people.click(user, card, action)
        except NotAcknowledged:
            return False
        return True

    def click(self, user: str, card: Message) -> dict[str, Any]:
        """What Slack would send of a press on Approve: to be sent late, twice or forged."""
        people = self.road.slack.people
        found = [e for block in card.blocks for e in block.get("elements", ())]
        button = next(each for each in found if each.get("action_id") == "gate_approve")
        payload = people._payload("block_actions", people._user(user), people._newest(card))
        action = {key: button[key] for key in ("action_id", "value", "type")}
        payload["actions"] = [action | {"action_ts": self.road.slack.world.new_ts()}]
        return payload | {"trigger_id": "1.2.abc"}

    async def send(self, payload: dict[str, Any]) -> None:
        await self.road.slack.delivery.interaction(payload)

    async def reject(self, user: str, card: Message, *, then: str = "stop") -> None:
        people = self.road.slack.people
        await people.click(user, card, "gate_reject")
        await until(lambda: people.modal(user), 10, self.road.story)
        await people.submit(user, {"text": "The sum is the wrong way round.", "then": then})

    async def refused(self, words: str, user: str = "sam") -> str:
        """What the person alone was told, once it contains these words."""
        return (await self.road.whispered(words, user)).text

    async def refusals(self) -> list[tuple[str, str]]:
        """Who was refused by which check."""
        return [(each.by.name, each.check) for each in await self.road.events(GateRefused)]

    def account(self, name: str) -> Account:
        return seed.account(self.road.gitlab.state, name)

    def access(self, name: str, level: int) -> None:
        """From now on."""
        self.road.project.members[self.account(name).id].access_level = level

    def in_slack(self, name: str, **what: Any) -> None:
        world = self.road.slack.world
        world.add_user(replace(world.user_named(name), **what))

    # --- what came of it

    async def waits(self) -> RunState:
        """Still, and nothing was merged."""
        state = await self.road.state()
        assert state.status is RunStatus.WAITING_FOR_APPROVAL, await self.road.story()
        assert [mr.state for mr in self.road.merge_requests] == ["opened"]
        return state

    async def waits_or_left(self) -> None:
        """Nothing was merged, and the thread says how it stands."""
        assert all(mr.state != "merged" for mr in self.road.merge_requests)
        await holds(self.road)

    async def ended(self, status: RunStatus = RunStatus.SUCCEEDED, seconds: float = 40) -> RunState:
        """And everything agrees on how."""
        state = await self.road.reached(lambda s: s.status in ENDED, seconds)
        assert state.status is status, await self.road.story()
        await holds(self.road)
        return state

    async def merged(self, seconds: float = 40) -> RunState:
        """Once, and told so."""
        state = await self.ended(seconds=seconds)
        assert [mr.state for mr in self.road.merge_requests] == ["merged"]
        assert await self.road.git("rev-list", "--merges", "--count", "main") == "1"
        return state

    async def unmerged(self, *words: str, seconds: float = 40) -> RunState:
        """The run has ended without, and said why."""
        state = await self.ended(RunStatus.ESCALATED, seconds)
        for each in words:
            assert each in state.reason, state.reason
        assert await self.road.git("rev-list", "--merges", "--count", "main") == "0"
        return state


async def never(condition: Callable[[], Any], seconds: float = 1.0) -> None:
    """For what must not come about while one waits."""
    async with asyncio.timeout(seconds + 5):
        for _ in range(round(seconds / 0.05)):
            assert not condition()
            await asyncio.sleep(0.05)
