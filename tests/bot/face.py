"""The face against the Slack stand-in and a real database, with a service that does as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from agent.adapters.database import Database
from agent.events import (
    InstructionGiven,
    Payload,
    QuestionAnswered,
    QuestionAsked,
    RunEnded,
    StatusChanged,
    StopAsked,
)
from agent.ports import Write
from agent.run import Limits, Linked, Person, Request, Run, RunId, RunStatus
from agent.state import RunState, fold
from bot.front import Front, open_front
from bot.settings import ProjectEntry, Settings
from playground.slack.records import Message
from playground.slack.server import SlackStandIn

PEOPLE = {"U0MIA": 2, "U0SAM": 3}


@dataclass(frozen=True, kw_only=True)
class FakeClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.05))


@dataclass(kw_only=True)
class FakeForge:
    """Only what the face asks of GitLab."""

    known: dict[int, Linked] = field(default_factory=dict[int, Linked])

    async def linked(
        self, project: str, kind: Literal["issue", "merge_request"], iid: int
    ) -> Linked:
        return self.known[iid]


@dataclass(kw_only=True)
class FakeRuns:
    """Writes to the log what the real service would, and lets a test play the worker."""

    db: Database
    asked: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    refusal: Exception | None = None

    async def start(self, request: Request) -> Run:
        self._note("start", request)
        thread = request.thread
        key = f"{thread.team}:{thread.channel}:{request.message}"
        run, _ = await self.db.store.create(key, request, Limits())
        return run

    async def instruct(self, run: RunId, text: str, by: Person, *, message: str = "") -> Run:
        self._note("instruct", run, text)
        return await self.add(run, InstructionGiven(text=text, by=by, message=message))

    async def answer(self, run: RunId, text: str, by: Person, *, message: str = "") -> Run:
        self._note("answer", run, text)
        answered = QuestionAnswered(text=text, by=by, message=message)
        return await self.add(run, answered, StatusChanged(status=RunStatus.WORKING))

    async def stop(self, run: RunId, by: Person, *, how: str) -> Run:
        self._note("stop", run, how)
        ended = RunEnded(status=RunStatus.CANCELLED)
        return await self.add(run, StopAsked(by=by, how=how), ended)

    async def retry(self, run: RunId, by: Person) -> Run:
        self._note("retry", run)
        return await self.add(run, StatusChanged(status=RunStatus.QUEUED))

    async def status(self, run: RunId) -> RunState:
        return fold(await self.db.store.events(run))

    async def add(self, run: RunId, *payloads: Payload) -> Run:
        return await self.db.store.write(run, Write(payloads=payloads), actor="worker")

    def _note(self, *what: Any) -> None:
        self.asked.append(what)
        if self.refusal:
            raise self.refusal

    def of(self, verb: str) -> list[tuple[Any, ...]]:
        return [each for each in self.asked if each[0] == verb]


@dataclass(kw_only=True)
class Face:
    slack: SlackStandIn
    runs: FakeRuns
    forge: FakeForge
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

    async def until(self, true: Callable[[], Any], seconds: float = 8.0) -> Any:
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
        "gitlab_url": "https://gitlab.example",
        "public_url": "https://agent.example",
        "projects": {"platform/api": entry},
        "people": PEOPLE,
    }
    return Settings(**(fields | changes))


@asynccontextmanager
async def open_face(
    slack: SlackStandIn, db: Database, *, settings: Settings | None = None
) -> AsyncGenerator[Face]:
    runs, forge = FakeRuns(db=db), FakeForge()
    async with open_front(
        settings or settings_for(slack),
        store=db.store,
        deliveries=db.inbox,
        threads=db.threads,
        runs=runs,
        forge=forge,  # type: ignore[arg-type]
        clock=FakeClock(),
    ) as front:
        front.presenter.every = 0.2
        front.slack.api.patience = 0.02
        front.slack.post_gap = front.slack.edit_gap = 0.01
        serving = asyncio.create_task(front.serve())
        try:
            channel = slack.world.channel_named("platform").id
            yield Face(slack=slack, runs=runs, forge=forge, front=front, channel=channel)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


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
