"""Threads that stay in step, whatever happens to Slack or to us."""

from __future__ import annotations

import asyncio
from typing import Any

import face as face_
import pytest
from face import Face, ask, handled, open_face, started
from log import job, seen, triaged

from agent.adapters.database import Database
from agent.adapters.postgres_lease import Hold
from agent.adapters.postgres_store import PostgresStore
from agent.adapters.postgres_threads import ThreadStore
from agent.events import FixStarted, QuestionAsked, RunEnded, StatusChanged, ToolReturned
from agent.pipeline import Blame, Verdict
from agent.run import Digest, RunId, RunStatus
from bot.presenter import LATE
from playground.faults import Fault, FaultMode
from playground.slack.server import SlackStandIn


async def test_after_a_restart_the_same_card_is_edited(slack: SlackStandIn, db: Database) -> None:
    async with open_face(slack, db) as face:
        root, run = await started(face)
    await face.runs.add(run.id, StatusChanged(status=RunStatus.PLANNING))

    async with open_face(slack, db) as again:
        await again.until(lambda: "planning" in again.ours(root)[0].text)
        assert len(again.ours(root)) == 1


async def test_a_post_whose_answer_was_lost_is_not_posted_twice(face: Face) -> None:
    face.slack.faults.set(Fault(mode=FaultMode.DROP_AFTER_APPLY, method="chat.postMessage"))

    root, _ = await started(face)

    await face.until(lambda: face.slack.calls_of("conversations.replies"))
    await asyncio.sleep(0.3)
    assert len(face.ours(root)) == 1


async def test_a_crash_between_intent_and_post_posts_once(
    slack: SlackStandIn, db: Database
) -> None:
    async with open_face(slack, db) as face:
        root, run = await started(face)
        card = face.ours(root)[0]
    await db.pool.execute("UPDATE messages SET ts = '', state = 'intended' WHERE slot = 'card'")

    async with open_face(slack, db) as again:
        await again.runs.add(run.id, StatusChanged(status=RunStatus.PLANNING))
        await again.until(lambda: "planning" in again.ours(root)[0].text)
        assert [message.ts for message in again.ours(root)] == [card.ts]


@pytest.mark.parametrize("sent", [True, False])
async def test_what_was_about_to_be_said_when_the_run_went_on_is_settled(
    slack: SlackStandIn, db: Database, sent: bool
) -> None:
    async with open_face(slack, db) as face:
        root, run = await started(face)
        await face.runs.add(run.id, RunEnded(status=RunStatus.FAILED, reason="It broke."))
        await face.until(lambda: len(face.ours(root)) == 2)
        await face.until(lambda: not face.front.presenter._following)
    (told,) = [message for message in face.ours(root) if "It broke." in message.text]
    if not sent:
        slack.world.delete(told)
    await db.pool.execute(
        "UPDATE messages SET ts = '', state = 'intended' WHERE slot LIKE 'outcome:%'"
    )
    await face.runs.add(run.id, StatusChanged(status=RunStatus.QUEUED, reason="Once more."))
    settled = "SELECT ts FROM messages WHERE slot = 'outcome:1' AND state = 'posted'"

    async with open_face(slack, db):
        async with asyncio.timeout(30):
            while (ts := await db.pool.fetchval(settled)) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert ts == (told.ts if sent else "")


async def test_what_breaks_by_a_defect_is_shown_all_the_same(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing comes into the log afterwards."""
    posted, broke = ThreadStore.posted, 0

    async def breaking(threads: ThreadStore, run: RunId, slot: str, **more: Any) -> None:
        nonlocal broke
        if slot == "card" and broke < 2:
            broke += 1
            raise RuntimeError("a defect")
        await posted(threads, run, slot, **more)

    monkeypatch.setattr("bot.presenter._AGAIN", 0.1)
    monkeypatch.setattr(ThreadStore, "posted", breaking)
    root, run = await started(face)

    async def stands() -> bool:
        slots = await face.front.presenter.threads.slots(run.id)
        return slots["card"].state == "posted"

    async with asyncio.timeout(60):
        while not await stands():  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.02)
    assert broke == 2
    assert len(face.ours(root)) == 1


async def test_of_a_run_that_waits_nothing_is_kept_and_nothing_is_read_at_the_next_start(
    slack: SlackStandIn, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_face(slack, db) as face:
        root, run = await started(face)
        await ask(face, run, "Which one?")
        await face.until(lambda: len(face.ours(root)) == 2)
        await face.until(lambda: not face.front.presenter._following)
        await face.runs.add(run.id, QuestionAsked(question="Or this one?"))
        await face.until(lambda: len(face.ours(root)) == 3)
        await face.until(lambda: not face.front.presenter._following)
    read: list[int] = []
    events = PostgresStore.events

    async def reading(store: PostgresStore, run: RunId, *, after: int = 0):
        read.append(run)
        return await events(store, run, after=after)

    monkeypatch.setattr(PostgresStore, "events", reading)
    async with open_face(slack, db) as again:
        other = again.say("@agent something else")
        await again.until(lambda: again.ours(other))
        assert set(read) == {run.id + 1}


async def test_what_changes_in_the_moment_in_which_a_run_is_let_go_is_shown(
    face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, run = await started(face)
    await ask(face, run, "Which one?")
    shown = ThreadStore.shown

    async def growing(threads: ThreadStore, of: RunId, **more: Any) -> None:
        monkeypatch.setattr(ThreadStore, "shown", shown)
        await shown(threads, of, **more)
        await face.runs.add(of, QuestionAsked(question="Or this one?"))
        following = face.front.presenter._following[of]
        await face.until(following.changed.is_set)

    monkeypatch.setattr(ThreadStore, "shown", growing)

    await face.until(lambda: "Or this one?" in str([m.blocks for m in face.ours(root)]))


async def test_one_that_was_stopped_for_a_while_writes_nothing_before_it_is_alone_again(
    face: Face, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root, run = await started(face)
    monkeypatch.setattr(Hold, "sure", lambda _: False)
    edits = len(face.slack.calls_of("chat.update"))

    await face.runs.add(run.id, StatusChanged(status=RunStatus.PLANNING))

    await face.until(lambda: "thread_waits" in caplog.text)
    assert len(face.slack.calls_of("chat.update")) == edits
    monkeypatch.undo()
    await face.until(lambda: "planning" in face.ours(root)[0].text)


async def test_a_crash_before_a_sign_was_changed_leaves_none_of_before(
    slack: SlackStandIn, db: Database
) -> None:
    async with open_face(slack, db) as face:
        root, run = await started(face)
        await face.until(lambda: face.reactions(root) == ["eyes"])
    intended = "UPDATE messages SET state = 'intended', fingerprint = 'warning' WHERE slot = $1"
    await db.pool.execute(intended, "reaction")

    async with open_face(slack, db) as again:
        await again.runs.add(run.id, RunEnded(status=RunStatus.FAILED, reason="It broke."))
        await again.until(lambda: "warning" in again.reactions(root))
        assert again.reactions(root) == ["warning"]


async def test_a_later_run_in_a_thread_takes_the_sign_of_the_one_before_away(face: Face) -> None:
    root, run = await started(face)
    await face.runs.add(run.id, RunEnded(status=RunStatus.SUCCEEDED))
    await face.until(lambda: face.reactions(root) == ["white_check_mark"])

    face.say("@agent new fix the docs", thread=root.ts)
    await face.until(lambda: len(face.runs.of("start")) == 2)
    await face.until(lambda: face.reactions(root) == ["eyes"])
    later = (await face.runs.db.store.runs_of_thread(run.request.thread))[0]
    await face.runs.add(later.id, RunEnded(status=RunStatus.FAILED, reason="It broke."))

    await face.until(lambda: face.reactions(root) == ["warning"])


async def test_the_sign_is_that_of_the_newest_run_in_the_thread(face: Face) -> None:
    root, run = await started(face)
    face.say("@agent new fix the docs", thread=root.ts)
    await face.until(lambda: len(face.runs.of("start")) == 2)
    await face.until(lambda: any("Run 2" in each.text for each in face.ours(root)))

    await face.runs.add(run.id, RunEnded(status=RunStatus.FAILED, reason="It broke."))
    await face.until(lambda: "failed" in face.ours(root)[0].text)

    assert face.reactions(root) == ["eyes"]


async def test_a_first_sign_that_comes_late_does_not_stay_beside_the_last(face: Face) -> None:
    late = Fault(mode=FaultMode.HANG, method="reactions.add", times=1)
    held = face.slack.faults.set(late)
    root, run = await started(face)
    assert held.hits == 1
    await face.runs.add(run.id, RunEnded(status=RunStatus.SUCCEEDED))
    await face.until(lambda: face.reactions(root) == ["white_check_mark"])

    face.slack.faults.clear()
    await handled(face)

    assert face.reactions(root) == ["white_check_mark"]


async def test_many_changes_are_few_edits(face: Face) -> None:
    root, run = await started(face)
    face.front.presenter.every = 0.5
    await face.runs.add(run.id, StatusChanged(status=RunStatus.PLANNING))

    for number in range(20):
        await face.runs.add(
            run.id,
            ToolReturned(
                call=number,
                id=str(number),
                tool="read",
                arguments="{}",
                ok=True,
                summary=f"read file {number}",
                output=Digest("0" * 64),
                seconds=0.1,
            ),
        )

    await face.until(lambda: "read file 19" in str(face.ours(root)[0].blocks))
    assert len(face.slack.calls_of("chat.update")) <= 4


async def test_a_deleted_card_is_posted_again(face: Face) -> None:
    root, run = await started(face)
    face.slack.world.delete(face.ours(root)[0])

    await face.runs.add(run.id, StatusChanged(status=RunStatus.PLANNING))

    await face.until(lambda: [m for m in face.ours(root) if "planning" in m.text])


async def test_blocks_that_slack_does_not_know_are_left_out(face: Face) -> None:
    face.slack.faults.set(
        Fault(mode=FaultMode.FAIL, method="chat.postMessage", error="invalid_blocks")
    )

    root, _ = await started(face)

    assert face.ours(root)[0].text.startswith("Run 1 on platform/api")


@pytest.mark.parametrize("status", [500, 503])
async def test_an_outage_of_slack_is_waited_for(face: Face, status: int) -> None:
    face.slack.faults.set(
        Fault(mode=FaultMode.FAIL, method="chat.postMessage", status=status, times=2)
    )

    root, _ = await started(face)

    assert len(face.ours(root)) == 1


async def test_patience_that_slack_asks_for_is_given(face: Face) -> None:
    face.slack.faults.set(Fault(mode=FaultMode.RATE_LIMIT, method="chat.postMessage"))

    root, _ = await started(face)

    assert len(face.ours(root)) == 1


async def test_a_red_pipeline_is_one_message_from_its_failure_to_its_fix(face: Face) -> None:
    root, run = await started(face)
    ours = triaged(Blame.OURS, job("lint", "failed"), "The change broke it.", "E501 line too long")
    await face.runs.add(
        run.id,
        StatusChanged(status=RunStatus.WATCHING),
        seen(Verdict.RED, job("lint", "failed")),
        ours,
        FixStarted(attempt=1, attempts=3, pipeline=7, jobs=("lint",)),
        StatusChanged(status=RunStatus.WORKING),
    )
    told = await face.until(lambda: [m for m in face.ours(root) if "failed in lint" in m.text])
    assert "E501 line too long" in str(told[0].blocks)
    assert "Fix attempt 1 of 3 has started." in told[0].text

    await face.runs.add(
        run.id,
        StatusChanged(status=RunStatus.WATCHING),
        seen(Verdict.GREEN, job("lint"), number=8, commit="c3" * 20),
        RunEnded(status=RunStatus.SUCCEEDED, summary="Done."),
    )

    await face.until(lambda: [m for m in face.ours(root) if "fixed in c3c3c3c3" in m.text])
    same = [m for m in face.ours(root) if m.ts == told[0].ts]
    assert "fixed in c3c3c3c3" in same[0].text


async def test_stop_fixing_stops_the_run(face: Face) -> None:
    root, run = await started(face)
    await face.runs.add(
        run.id,
        StatusChanged(status=RunStatus.WATCHING),
        seen(Verdict.RED, job("lint", "failed")),
        FixStarted(attempt=1, attempts=3, pipeline=7, jobs=("lint",)),
        StatusChanged(status=RunStatus.WORKING),
    )
    (told,) = await face.until(lambda: [m for m in face.ours(root) if "failed in" in m.text])

    await face.slack.people.click("mia", told, "run_stop")

    await face.until(lambda: face.runs.of("stop"))
    await face.until(lambda: "run_stop" not in str(face.ours(root)[1].blocks))


async def test_an_edit_of_who_was_replaced_does_not_stay_when_it_comes_last(
    slack: SlackStandIn, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    landed = asyncio.Event()

    class Clock(face_.FakeClock):
        async def sleep(self, seconds: float) -> None:
            if seconds == LATE:
                await landed.wait()
            else:
                await super().sleep(seconds)

    async with open_face(slack, db) as face:
        root, run = await started(face)
        on_its_way = slack.faults.set(Fault(mode=FaultMode.HANG, method="chat.update"))
        await face.runs.add(run.id, StatusChanged(status=RunStatus.PLANNING))
        await face.until(lambda: on_its_way.hits)
    monkeypatch.setattr(face_, "FakeClock", Clock)
    async with open_face(slack, db) as other:
        await other.runs.add(run.id, RunEnded(status=RunStatus.FAILED, reason="It broke."))
        await other.until(lambda: "failed" in other.ours(root)[0].text)
        await other.until(lambda: not other.front.presenter._following)
        slack.faults.clear()
        await other.until(lambda: "planning" in other.ours(root)[0].text)
        landed.set()
        await other.until(lambda: "failed" in other.ours(root)[0].text)
    assert len([m for m in other.ours(root) if "Run 1 on" in m.text]) == 1
