"""Threads are compared with what is stored of them: nothing stays away, nothing stands twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

import face as face_
import pytest
from face import Face, ask, open_face, started

from agent.adapters.database import Database
from agent.adapters.postgres_rounds import RoundStore
from agent.run import RunId, Thread
from bot.front import open_front
from bot.page import Slot, _Standing
from bot.slack import Said
from bot.standing import Difference, ThreadRound, difference
from playground.faults import Fault, FaultMode
from playground.slack.records import Message
from playground.slack.server import SlackStandIn

RUN = RunId(1)


def said(ts: str, slot: str = "", run: int = 1) -> Said:
    return Said(ts=ts, author="", text="", mark=(RunId(run), slot) if slot else None)


def slot(ts: str, state: str = "posted") -> _Standing:
    return _Standing(ts=ts, fingerprint="f", state=state)


def test_what_stands_as_it_should_is_no_difference():
    slots = {"card": slot("2"), "reaction": slot("1"), "stranded": slot("7"), "session": slot("1")}
    thread = [said("1"), said("2", "card"), said("3"), said("4", "card", run=2)]
    assert difference(RUN, slots, thread) == Difference()


def test_what_is_gone_unknown_and_twice_is_told_apart():
    slots = {"card": slot("2"), "gate:a": slot("3"), "result:1": slot("", "intended")}
    thread = [said("2", "card"), said("4", "card"), said("5", "question:9"), said("6", "result:1")]
    found = difference(RUN, slots, thread)
    assert found.gone == {"gate:a"}
    assert found.unknown == {"question:9"}
    assert found.doubles == ("4",)


def test_of_two_that_stand_in_place_of_one_that_is_gone_none_is_taken_away():
    found = difference(RUN, {"card": slot("2")}, [said("4", "card"), said("5", "card")])
    assert found == Difference(gone=frozenset({"card"}))


# --- over Slack


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The rounds of the database, and when one was made."""

    rounds: RoundStore
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def alone(self, name: str) -> AbstractAsyncContextManager[object]:
        return self.rounds.alone(name)

    async def last(self, name: str) -> tuple[datetime | None, datetime]:
        return None, (await self.rounds.last(name))[1]  # each start is that of another day

    async def made(self, name: str, began: datetime) -> None:
        await self.rounds.made(name, began)
        self.done.set()
        await asyncio.Event().wait()  # one is enough

    async def threads(self, most: int) -> Sequence[tuple[RunId, Thread]]:
        return await self.rounds.threads(most)


@asynccontextmanager
async def comparing(
    slack: SlackStandIn, db: Database, put: pytest.MonkeyPatch
) -> AsyncGenerator[Face]:
    """Somebody begins to serve, and has compared all threads."""
    watched = Watched(rounds=db.rounds)
    with put.context() as within:
        within.setattr(face_, "open_front", partial(open_front, rounds=watched))
        async with open_face(slack, db) as face:
            async with asyncio.timeout(60):
                await watched.done.wait()
            yield face


@pytest.fixture
async def asked(slack: SlackStandIn, db: Database) -> tuple[Message, RunId]:
    """A run whose question stands in its thread. Nobody serves any more."""
    async with open_face(slack, db) as face:
        root, run = await started(face)
        await ask(face, run, "Which one?")
        await face.until(lambda: len(face.ours(root)) == 2)
        await face.until(lambda: not face.front.presenter._following)
    return root, run.id


def ours(slack: SlackStandIn, root: Message) -> list[Message]:
    us = slack.world.app.bot_user
    return [each for each in slack.world.thread(root.channel, root.ts) if each.user == us]


async def test_a_message_that_is_gone_is_posted_again_and_known_from_then_on(
    slack: SlackStandIn, db: Database, asked: tuple[Message, RunId], monkeypatch: pytest.MonkeyPatch
):
    root, run = asked
    card, question = ours(slack, root)
    slack.workspace.delete(question)

    async with comparing(slack, db, monkeypatch) as face:
        await face.until(lambda: len(ours(slack, root)) == 2)
        await face.until(lambda: not face.front.presenter._following)
    async with comparing(slack, db, monkeypatch) as face:
        await face.until(lambda: not face.front.presenter._following)
    same, again = ours(slack, root)
    assert same.ts == card.ts
    assert again.text == question.text
    assert again.ts != question.ts
    assert again.ts in {slot.ts for slot in (await db.threads.slots(run)).values()}


async def test_where_all_stands_nothing_is_read_but_the_thread_and_nothing_written(
    slack: SlackStandIn, db: Database, asked: tuple[Message, RunId], monkeypatch: pytest.MonkeyPatch
):
    before = len(slack.calls)
    async with comparing(slack, db, monkeypatch) as face:
        assert not face.front.presenter._following
    called = [call.method for call in list(slack.calls)[before:]]
    assert called.count("conversations.replies") == 1
    assert not {"chat.postMessage", "chat.update", "chat.delete"} & set(called)


async def test_a_message_that_stands_twice_is_taken_away_and_what_others_said_stays(
    slack: SlackStandIn, db: Database, asked: tuple[Message, RunId], monkeypatch: pytest.MonkeyPatch
):
    root, _ = asked
    card, question = ours(slack, root)
    slack.workspace.post(replace(question, ts=slack.world.new_ts()))
    slack.people.post("sam", "platform", "I think so, too", thread_ts=root.ts)
    of_another = {"event_payload": {"run": 99, "slot": "card"}}
    foreign = {**(card.metadata or {}), **of_another}
    slack.workspace.post(replace(card, ts=slack.world.new_ts(), metadata=foreign))
    before = len(slack.world.thread(root.channel, root.ts))

    async with comparing(slack, db, monkeypatch):
        thread = slack.world.thread(root.channel, root.ts)
        assert len(thread) == before - 1
        assert [each.ts for each in ours(slack, root)[:2]] == [card.ts, question.ts]
        assert len(ours(slack, root)) == 3
        assert "I think so, too" in [each.text for each in thread]


async def test_a_message_that_nothing_is_stored_of_is_taken_for_what_it_is(
    slack: SlackStandIn, db: Database, asked: tuple[Message, RunId], monkeypatch: pytest.MonkeyPatch
):
    """As after a database was brought back from a copy."""
    root, run = asked
    before = [each.ts for each in ours(slack, root)]
    await db.pool.execute("UPDATE messages SET slot = 'x' || slot WHERE slot LIKE 'question:%'")

    async with comparing(slack, db, monkeypatch) as face:
        await face.until(lambda: not face.front.presenter._following)
        assert [each.ts for each in ours(slack, root)] == before
        slots = await db.threads.slots(run)
        assert [s.ts for n, s in slots.items() if n.startswith("question")] == before[1:]


async def test_one_that_stands_in_the_place_of_one_that_is_gone_is_kept(
    slack: SlackStandIn, db: Database, asked: tuple[Message, RunId], monkeypatch: pytest.MonkeyPatch
):
    root, run = asked
    _, question = ours(slack, root)
    other = replace(question, ts=slack.world.new_ts())
    slack.workspace.post(other)
    slack.workspace.delete(question)

    async with comparing(slack, db, monkeypatch) as face:
        await face.until(lambda: not face.front.presenter._following)
        assert [each.ts for each in ours(slack, root)][1:] == [other.ts]
        assert other.ts in {slot.ts for slot in (await db.threads.slots(run)).values()}


async def test_a_thread_that_slack_does_not_show_any_more_keeps_no_other_from_being_read(
    slack: SlackStandIn, db: Database, asked: tuple[Message, RunId], monkeypatch: pytest.MonkeyPatch
):
    root, _ = asked
    async with open_face(slack, db) as face:
        other, _ = await started(face)
        await face.until(lambda: not face.front.presenter._following or ours(slack, other))
    slack.workspace.delete(ours(slack, root)[1])
    gone = Fault(mode=FaultMode.FAIL, method="conversations.replies", error="thread_not_found")
    slack.faults.set(gone)

    async with comparing(slack, db, monkeypatch) as face:
        await face.until(lambda: len(ours(slack, root)) == 2)


@pytest.mark.parametrize("call", ["conversations.replies", "chat.update", "chat.postMessage"])
async def test_slack_that_is_away_meanwhile_is_asked_again(
    slack: SlackStandIn,
    db: Database,
    asked: tuple[Message, RunId],
    monkeypatch: pytest.MonkeyPatch,
    call: str,
):
    root, _ = asked
    slack.workspace.delete(ours(slack, root)[1])
    away = slack.faults.set(Fault(mode=FaultMode.FAIL, method=call, status=503, times=7))

    async with comparing(slack, db, monkeypatch) as face:
        await face.until(lambda: len(ours(slack, root)) == 2)
        await face.until(lambda: not face.front.presenter._following)
    assert away.hits == 7
    assert len(ours(slack, root)) == 2


async def test_what_slack_refuses_to_show_anew_is_not_asked_for_again(
    slack: SlackStandIn, db: Database, asked: tuple[Message, RunId], monkeypatch: pytest.MonkeyPatch
):
    root, _ = asked
    slack.workspace.delete(ours(slack, root)[1])
    closed = Fault(mode=FaultMode.FAIL, method="chat.postMessage", error="is_archived", times=0)
    refused = slack.faults.set(closed)

    async with comparing(slack, db, monkeypatch) as face:
        await face.until(lambda: refused.hits and not face.front.presenter._following)
        assert not face.front.presenter._renewed


async def test_a_thread_that_breaks_keeps_no_other_from_being_compared(
    slack: SlackStandIn, db: Database, asked: tuple[Message, RunId], monkeypatch: pytest.MonkeyPatch
):
    root, _ = asked
    slack.workspace.delete(ours(slack, root)[1])
    async with open_face(slack, db) as face:
        _, newer = await started(face, "@agent write a test")
        slots = db.threads.slots

        async def breaks(run: RunId) -> Mapping[str, Slot]:
            if run == newer.id:
                raise KeyError("ts")
            return await slots(run)

        monkeypatch.setattr(db.threads, "slots", breaks)
        made = ThreadRound(presenter=face.front.presenter, recent=db.rounds)
        assert await made.make(None, datetime.now(UTC))
        await face.until(lambda: len(ours(slack, root)) == 2)
