"""The service dies, fails or hangs right before and after each step of each effect; then the run
ends as if nothing had happened, with each effect there once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from crossing import Crossing
from cut_points import CUT_POINTS, CutPoint, fast
from cutting import HANG, hasten
from oracle import holds, standing
from road import Process, Road, fault, until
from test_talk import api

from agent import failpoints
from agent.events import GateVoted
from agent.run import RunId, RunStatus
from playground import seed
from playground.slack.records import Message

AWAY = ("kill", "hang")  #: with which another process has to go on
LONG = ("retry_job", "decide", "merge")  #: which need a pipeline and its gate
RETRIED = fault("job_fails", "job:agent/1:unit", error="runner_system_failure")
NTH = {"post": 2}  #: the last word: nothing comes after it that would mend the thread
PATIENCE = 120.0
#: Where a defect ends a job of the queue itself; another job has taken its place.
HELD = (("claim", "before_call", "raise"), ("claim", "after_call", "raise"))


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch.setattr)


@dataclass(kw_only=True)
class People:
    """They ask, approve, and say it once more where they were told that something broke."""

    crossing: Crossing
    text: str
    asked: list[Message] = field(default_factory=list[Message])
    heard: int = 0  #: apologies
    tries: int = 0

    async def until_done(self) -> None:
        self._ask()
        async with asyncio.timeout(PATIENCE):
            while not await self._done():  # noqa: ASYNC110 - people look once in a while
                await asyncio.sleep(0.1)

    def _ask(self) -> None:
        self.asked.append(self.crossing.road.ask(self.text))

    async def _done(self) -> bool:
        road = self.crossing.road
        sorry = sum("Something broke on our side" in e.text for e in road.whispers())
        runs = await road.runs()
        if not runs:
            if sorry > self.heard:
                self.heard = sorry
                self._ask()
            return False
        state = await road.state()
        if state.status is RunStatus.SUCCEEDED:
            return True
        if state.end is not None:
            assert state.status is RunStatus.FAILED, await road.story()
            assert "(error " in state.reason, state.reason
            assert self.tries < 2, await road.story()
            self.tries += 1
            rounds = state.rounds
            road.reply(self.asked[-1], "@agent retry")
            await road.reached(lambda s: s.end is None or s.rounds > rounds, PATIENCE)
        elif state.status is RunStatus.WAITING_FOR_APPROVAL and await self._asked_for():
            await self._press()
        return False

    async def _asked_for(self) -> bool:
        known = await self.crossing._known("main")
        return known and not await self.crossing.road.events(GateVoted)

    async def _press(self) -> None:
        """Again when Slack shows a warning, or after it was said that nothing was decided."""
        road = self.crossing.road
        told = len(road.whispers("sam"))
        if not await self.crossing.press("sam", self.crossing.cards("main")[-1]):
            return

        async def answered() -> bool:
            return len(road.whispers("sam")) > told or bool(await road.events(GateVoted))

        await until(answered, PATIENCE, road.story)


@dataclass(kw_only=True)
class Cut:
    """A service that comes to the point, and what goes on in its place."""

    road: Road
    point: CutPoint
    _first: Process = field(init=False)
    _go_on: Callable[[], Awaitable[Any]] = field(init=False)

    @property
    def record(self) -> Path:
        return self.road.folder / "home" / failpoints.RECORD

    def told(self, word: str = "hit") -> bool:
        name = f"{self.point[0]}.{self.point[1]}:{self.point[2]} {word} by "
        return self.record.exists() and name in self.record.read_text()

    @asynccontextmanager
    async def made(self) -> AsyncGenerator[None]:
        """Inside it serves."""
        effect, moment, way = self.point
        env = {"JOURNEYMAN_FAILPOINTS": f"{effect}.{moment}:{way}@{NTH.get(effect, 1)}:{HANG}"}
        async with AsyncExitStack() as stack:
            if way not in AWAY:
                await stack.enter_async_context(self.road.serving(**env))
                self.road.served = {}
                yield
                return
            first = Process(self.road, self.road.env | env, program="cutting.py")
            stack.push_async_callback(first.end, signal.SIGKILL)
            await first.ready()
            assert b"It is for tests only" in self.road.log.read_bytes()
            enter = stack.enter_async_context
            self._first, self._go_on = first, lambda: enter(self.road.serving())
            yield

    async def hit(self) -> None:
        await until(self.told, PATIENCE, self.road.story)
        if self.point[2] == "kill":
            await self._first.ended()
        if self.point[2] in AWAY:
            await self._go_on()

    async def woken(self) -> None:
        """Whoever hung goes on as well, with what it was about to do."""
        if self.point[2] == "hang":
            await until(lambda: self.told("left"), PATIENCE, self.road.story)
            await asyncio.sleep(1.0)  # in which it could do it a second time
            assert await self._first.end(signal.SIGTERM) == 0


def marks(point: CutPoint) -> list[pytest.MarkDecorator]:
    found = [] if fast(point) else [pytest.mark.slow]
    if point in HELD:
        found.append(
            pytest.mark.without("I1", why="the job that broke is kept for who looks at it")
        )
    return found


def test_there_are_176():
    assert len(CUT_POINTS) == len(set(CUT_POINTS)) == 176


@pytest.mark.parametrize(
    "point",
    [pytest.param(point, id="-".join(point), marks=marks(point)) for point in CUT_POINTS],
)
async def test_cut(crossing: Crossing, point: CutPoint):
    road = crossing.road
    if point[0] in LONG:
        crossing.rules()
        road.gitlab.faults.set(RETRIED)
    else:
        road.config()
    road.slack.delivery.speed = 10  # Slack sends it again until another process is there
    issue = await api(road, "issues", title="Wrong sum", description="x")
    cut = Cut(road=road, point=point)
    people = People(crossing=crossing, text=f"fix {issue['web_url']}")
    async with cut.made():
        done = asyncio.create_task(people.until_done())
        hit = asyncio.create_task(cut.hit())
        try:
            await asyncio.gather(done, hit)
        finally:
            done.cancel()
            hit.cancel()
        await cut.woken()
        await once(road, people, merged=point[0] in LONG)
        if point[:2] == ("decide", "after_call"):
            told = [each.text for each in road.whispers("sam")]
            assert not any("Nothing was decided" in text for text in told)
            assert not any("No run was changed" in text for text in told)
        await holds(road)
        cut.record.unlink()  # a service that is not armed leaves no such file


async def once(road: Road, people: People, *, merged: bool) -> None:
    assert await road.runs() == [1], await road.story()
    [request] = road.merge_requests
    assert (request.source_branch, request.state) == ("agent/1", "merged" if merged else "opened")
    assert await road.git("rev-list", "--merges", "--count", "main") == str(int(merged))
    [issue] = road.project.issues.values()
    agent = seed.account(road.gitlab.state, "journeyman").id
    notes = [n for d in issue.discussions for n in d.notes if n.author_id == agent]
    assert len(notes) == 1, [note.body for note in notes]
    if merged:
        votes = await road.events(GateVoted)
        assert [vote.by.name for vote in votes] == ["sam"]
        jobs = [j for p in road.project.pipelines.values() if p.ref == "agent/1" for j in p.jobs]
        assert [job.name for job in jobs] == ["unit", "unit"]

    def all_stand() -> bool:
        slots = standing(road, RunId(1))
        ends = [slot for slot in slots if slot not in ("card",)]
        return "card" in slots and bool(ends) and all(len(each) == 1 for each in slots.values())

    await until(all_stand, 30, road.story)
