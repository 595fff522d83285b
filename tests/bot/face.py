"""The face against the Slack stand-in and a real database, with a service that does as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from linked import link

from agent.adapters.database import Database
from agent.events import (
    HoldLifted,
    InstructionGiven,
    Payload,
    QuestionAnswered,
    QuestionAsked,
    RunEnded,
    StatusChanged,
    StopAsked,
    TakenOver,
)
from agent.gatekeeper import Gatekeeper
from agent.operators import OperatorService
from agent.ports import Write
from agent.project import ProjectSettings
from agent.run import ENDED, Limits, Person, Request, Run, RunId, RunStatus
from agent.state import RunState, fold
from agent.testing import FakeForge
from bot.build import make_sign_in
from bot.cards import places
from bot.front import Front, open_front
from bot.runs import Gates
from bot.settings import ProjectEntry, Settings
from playground.slack.records import Message
from playground.slack.server import SlackStandIn

PEOPLE = {"U0MIA": 2, "U0SAM": 3}
OPERATORS = {3}
MEMBERS = {2: 40, 3: 30}


@dataclass(frozen=True, kw_only=True)
class FakeClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.05))


@dataclass(kw_only=True)
class FakeRuns:
    """Writes to the log what the real service would, and lets a test play the worker."""

    db: Database
    asked: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    refusal: Exception | None = None

    async def start(self, request: Request, *, alone: bool = False) -> Run:
        self._refuse()
        thread = request.thread
        key = f"{thread.team}:{thread.channel}:{request.message}"
        run, _ = await self.db.store.create(key, request, Limits())
        self.asked.append(("start", request))
        return run

    async def instruct(
        self, run: RunId, text: str, by: Person, *, message: str = "", answers: bool = True
    ) -> Run:
        given = InstructionGiven(text=text, by=by, message=message)
        return await self._done(("instruct", run, text), run, given)

    async def approve_plan(self, run: RunId, by: Person, *, message: str = "") -> Run:
        given = InstructionGiven(text="Carry it out.", by=by, message=message, approves=True)
        on = StatusChanged(status=RunStatus.QUEUED)
        return await self._done(("approve_plan", run), run, given, on)

    async def answer(
        self, run: RunId, text: str, by: Person, *, message: str = "", question: int = 0
    ) -> Run:
        answered = QuestionAnswered(text=text, by=by, message=message)
        on = StatusChanged(status=RunStatus.WORKING)
        return await self._done(("answer", run, text), run, answered, on)

    async def lift(self, run: RunId, by: Person, *, hold: int = 0, message: str = "") -> Run:
        held = (await self.status(run)).held
        assert held is not None
        lifted = HoldLifted(tree=held.tree, by=by, violations=held.violations)
        on = StatusChanged(status=RunStatus.PUBLISHING)
        return await self._done(("lift", run, hold), run, lifted, on)

    async def stop(self, run: RunId, by: Person, *, how: str, message: str = "") -> Run:
        asked = StopAsked(by=by, how=how)
        if (await self.status(run)).status in ENDED:
            return await self._done(("stop", run, how), run, asked)
        ended = RunEnded(status=RunStatus.CANCELLED)
        return await self._done(("stop", run, how), run, asked, ended)

    async def take_over(self, run: RunId, by: Person, *, message: str = "") -> Run:
        return await self._done(("take_over", run, by.id), run, TakenOver(by=by))

    async def retry(self, run: RunId, by: Person, *, message: str = "") -> Run:
        return await self._done(("retry", run), run, StatusChanged(status=RunStatus.QUEUED))

    async def status(self, run: RunId) -> RunState:
        return fold(await self.db.store.events(run))

    async def add(self, run: RunId, *payloads: Payload) -> Run:
        return await self.db.store.write(run, Write(payloads=payloads), actor="worker")

    async def _done(self, what: tuple[Any, ...], run: RunId, *payloads: Payload) -> Run:
        self._refuse()
        row = await self.add(run, *payloads)
        self.asked.append(what)
        return row

    def _refuse(self) -> None:
        if self.refusal:
            raise self.refusal

    def of(self, verb: str) -> list[tuple[Any, ...]]:
        return [each for each in self.asked if each[0] == verb]


@dataclass(kw_only=True)
class Face:
    slack: SlackStandIn
    runs: FakeRuns
    front: Front
    channel: str

    def say(self, text: str, *, user: str = "mia", thread: str = "") -> Message:
        return self.slack.people.post(user, "platform", text, thread_ts=thread)

    def thread(self, root: Message) -> list[Message]:
        return self.slack.world.thread(root.channel, root.ts)

    def ours(self, root: Message) -> list[Message]:
        """What the bot has posted in the thread."""
        us = self.slack.world.app.bot_user
        return [message for message in self.thread(root) if message.user == us]

    def reactions(self, message: Message) -> list[str]:
        return list(self.slack.world.messages[message.channel, message.ts].reactions)

    def told(self, user: str = "U0MIA") -> list[str]:
        """What only one person saw."""
        return [e.text for e in self.slack.world.ephemerals.values() if e.user == user]

    async def until(self, true: Callable[[], Any], seconds: float = 60.0) -> Any:
        """Waits for something to become true, and answers it."""
        try:
            async with asyncio.timeout(seconds):
                while not (found := true()):  # noqa: ASYNC110 - anything may be waited for
                    await asyncio.sleep(0.02)
                return found
        except TimeoutError:
            raise AssertionError(f"still not so after {seconds} s") from None


def settings_for(slack: SlackStandIn, **changes: Any) -> Settings:
    channel = slack.world.channel_named("platform").id
    entry = ProjectEntry(path="platform/api", channels=(channel,))
    fields: dict[str, Any] = {
        "slack_bot_token": "xoxb-playground",
        "slack_app_token": "xapp-playground",
        "slack_api_url": slack.api_url,
        "public_url": "https://agent.example",
        "projects": {"platform/api": entry},
    }
    return Settings(**(fields | changes))


@asynccontextmanager
async def open_face(
    slack: SlackStandIn,
    db: Database,
    *,
    settings: Settings | None = None,
    gates: Gates | None = None,
) -> AsyncGenerator[Face]:
    runs, settings = FakeRuns(db=db), settings or settings_for(slack)
    forge = FakeForge(clone_url="", members=MEMBERS)
    await link(db, slack.world.team_id, PEOPLE)
    async with open_front(
        settings,
        store=db.store,
        deliveries=db.inbox,
        threads=db.threads,
        accounts=db.people,
        sign_in=make_sign_in(settings),
        runs=runs,
        operating=OperatorService(
            store=db.store,
            forge=forge,
            projects=lambda path: ProjectSettings(path=path),
            operators=OPERATORS,
        ),
        clock=FakeClock(),
        gates=gates or _gatekeeper(db, forge),
        diary=db.nights,
        book=db.digests,
        again={},
    ) as front:
        front.presenter.every = 0.2
        front.slack.api.patience = 0.02
        front.slack.post_gap = front.slack.edit_gap = 0.01
        serving = asyncio.create_task(front.serve())
        try:
            channel = slack.world.channel_named("platform").id
            yield Face(slack=slack, runs=runs, front=front, channel=channel)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


def _gatekeeper(db: Database, forge: FakeForge) -> Gatekeeper:
    return Gatekeeper(
        store=db.store,
        forge=forge,
        projects=lambda path: ProjectSettings(path=path),
        clock=FakeClock(),
        cards=places(db.store, db.threads),
    )


async def ask(face: Face, run: Run, question: str, *choices: str) -> None:
    await face.runs.add(
        run.id,
        StatusChanged(status=RunStatus.PLANNING),
        QuestionAsked(question=question, choices=choices),
        StatusChanged(status=RunStatus.WAITING_FOR_ANSWER),
    )


async def started(face: Face, text: str = "@agent add an export") -> tuple[Message, Run]:
    """A thread with a run and its card."""
    root = face.say(text)
    await face.until(lambda: face.ours(root))
    return root, (await face.runs.db.store.runs())[0]


async def redeliver(face: Face) -> None:
    """What nobody is done with; what is in hand stays there."""
    for delivery in await face.runs.db.inbox.unhandled(timedelta(0)):
        await face.front.door.again(delivery.id, delivery.payload)


async def handled(face: Face) -> None:
    """Until everything that has come is done with."""
    async with asyncio.timeout(60):
        while await face.runs.db.pool.fetchval(
            "SELECT count(*) FROM inbox WHERE handled_at IS NULL"
        ):
            await redeliver(face)
            await asyncio.sleep(0.02)
