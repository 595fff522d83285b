"""Runs and their logs in a real PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from typing import cast

import asyncpg
import pytest

from agent.adapters.database import Database
from agent.adapters.embedded_postgres import ADMIN, APP, EmbeddedPostgres
from agent.adapters.migration import migrate
from agent.adapters.postgres import Connection, Pool, connect
from agent.adapters.postgres_listener import Listener
from agent.adapters.postgres_store import CODE, PostgresStore
from agent.errors import Conflict, Fenced, NotFound, Unavailable
from agent.events import (
    EffectDone,
    EffectKind,
    InstructionGiven,
    QuestionAsked,
    RunAccepted,
    RunClaimed,
    RunEnded,
    StatusChanged,
    StopAsked,
    ToolReturned,
)
from agent.intents import LinkBack, Push
from agent.journal import Journal
from agent.ports import Write
from agent.run import (
    CommitSha,
    Digest,
    Limits,
    Person,
    Request,
    Run,
    RunId,
    RunStatus,
    Thread,
)
from agent.state import fold

ANN = Person(id="U1", name="Ann")
STOP = StopAsked(by=ANN, how="mention")
_keys = count(1)


def asked(thread: str = "1.0", project: str = "shop/api") -> Request:
    return Request(
        text="add an export",
        project=project,
        base_branch=None,
        requester=ANN,
        thread=Thread(team="T1", channel="C1", ts=thread),
        message=thread,
    )


async def started(db: Database, project: str = "shop/api") -> Run:
    run, _ = await db.store.create(f"key-{next(_keys)}", asked(project=project), Limits())
    return run


async def claimed(db: Database) -> Run:
    run = await started(db)
    mine = await db.store.claim(run.id, "w1")
    assert mine is not None
    return mine


async def working(db: Database) -> Run:
    run = await claimed(db)
    return await db.store.write(
        run.id, Write(payloads=(), status=RunStatus.WORKING), actor="worker", epoch=run.epoch
    )


async def jobs(db: Database) -> list[str]:
    rows = await db.pool.fetch("SELECT dedupe_key FROM engine.pgqueuer ORDER BY id")
    return [row["dedupe_key"] for row in rows]


async def test_two_deliveries_of_one_request_make_one_queued_run(db: Database) -> None:
    both = await asyncio.gather(
        *(db.store.create("slack:C1:1.0", asked(), Limits()) for _ in range(2))
    )
    assert sorted(new for _, new in both) == [False, True]
    assert both[0][0].id == both[1][0].id
    run = both[0][0].id
    assert await jobs(db) == [f"run:{run}:1"]
    (event,) = await db.store.events(run)
    assert event.payload == RunAccepted(request=asked(), limits=Limits())
    assert event.actor == "U1"


async def test_a_worker_that_was_replaced_writes_nothing(db: Database) -> None:
    first = await working(db)
    second = await db.store.claim(first.id, "w2")
    assert second is not None
    assert second.epoch == first.epoch + 1
    with pytest.raises(Fenced):
        await db.store.write(first.id, Write(payloads=(STOP,)), actor="worker", epoch=first.epoch)
    last = (await db.store.events(first.id))[-1].payload
    assert last == RunClaimed(worker="w2", epoch=2, resumed=True)


async def test_a_run_that_was_let_go_is_not_called_resumed(db: Database) -> None:
    run = await working(db)
    push = Push(commit=CommitSha("c" * 40))
    await db.store.write(
        run.id,
        Write(payloads=(), status=RunStatus.PUBLISHING, intents=(push,)),
        actor="worker",
        epoch=run.epoch,
    )
    await db.store.claim(run.id, "w2")
    last = (await db.store.events(run.id))[-1].payload
    assert isinstance(last, RunClaimed)
    assert not last.resumed


async def test_the_status_follows_the_log(db: Database) -> None:
    run = await working(db)
    question = QuestionAsked(question="Which one?")
    run = await db.store.write(
        run.id,
        Write(payloads=(question,), status=RunStatus.WAITING_FOR_ANSWER),
        actor="worker",
    )
    assert run.status is RunStatus.WAITING_FOR_ANSWER
    waiting = fold(await db.store.events(run.id))
    assert (waiting.status, waiting.question) == (run.status, question)

    ended = RunEnded(status=RunStatus.FAILED, reason="The model is gone.")
    run = await db.store.write(run.id, Write(payloads=(ended,)), actor="worker")
    assert run.status is RunStatus.FAILED

    again = StatusChanged(status=RunStatus.QUEUED, reason="Ann asked for more.")
    run = await db.store.write(run.id, Write(payloads=(again,), wake=True), actor="U1")
    assert run.status is RunStatus.QUEUED
    log = await db.store.events(run.id)
    assert [e.payload for e in log[-2:]] == [ended, again]
    assert fold(log).status is RunStatus.QUEUED


async def test_a_status_that_may_not_follow_is_refused_with_everything_else(db: Database) -> None:
    run = await working(db)
    done = RunEnded(status=RunStatus.SUCCEEDED)
    await db.store.write(run.id, Write(payloads=(done,)), actor="worker", epoch=run.epoch)
    before = await db.store.events(run.id)
    for write in (
        Write(payloads=(STOP,), status=RunStatus.WORKING),
        Write(payloads=(STOP, RunEnded(status=RunStatus.FAILED))),
    ):
        with pytest.raises(Conflict, match="cannot become"):
            await db.store.write(run.id, write, actor="worker", epoch=run.epoch)
    with pytest.raises(Conflict, match="by now"):
        await db.store.write(
            run.id, Write(payloads=(STOP,)), actor="U1", expect={RunStatus.WORKING}
        )
    assert await db.store.events(run.id) == before


async def test_of_two_answers_at_once_one_wins(db: Database) -> None:
    run = await working(db)
    await db.store.write(
        run.id, Write(payloads=(), status=RunStatus.WAITING_FOR_ANSWER), actor="worker"
    )
    answer = Write(payloads=(STOP,), status=RunStatus.QUEUED, wake=True)
    results = await asyncio.gather(
        *(
            db.store.write(run.id, answer, actor="U1", expect={RunStatus.WAITING_FOR_ANSWER})
            for _ in range(2)
        ),
        return_exceptions=True,
    )
    assert {type(result) for result in results} == {Conflict, Run}


async def test_bodies_are_kept_once_and_come_back_whole(db: Database) -> None:
    run = await claimed(db)
    big = b"line of a log\n" * 50_000
    write = Write(payloads=(), bodies=(big, b"", big))
    await db.store.write(run.id, write, actor="worker")
    await db.store.write(run.id, write, actor="worker")
    assert await db.store.body(run.id, Digest(hashlib.sha256(big).hexdigest())) == big
    assert await db.store.body(run.id, Digest(hashlib.sha256(b"").hexdigest())) == b""
    sizes = await db.pool.fetch("SELECT size, length(data) FROM bodies ORDER BY size")
    assert [row["size"] for row in sizes] == [0, len(big)]
    assert sizes[1]["length"] < len(big) / 20
    with pytest.raises(NotFound):
        await db.store.body(run.id, Digest("0" * 64))


async def test_odd_text_survives(db: Database) -> None:
    """Zero bytes and undecodable file names are what tools print."""
    run = await claimed(db)
    odd = ToolReturned(
        call=1,
        id="a",
        tool="run",
        arguments='{"command":"cat \\u0000"}\x00',
        ok=False,
        summary="caf\udce9 — ✓",
        output=Digest("0" * 64),
        seconds=1e-7,
    )
    await db.store.write(run.id, Write(payloads=(odd,)), actor="worker")
    assert (await db.store.events(run.id))[-1].payload == odd
    assert await db.store.verify(run.id) is None


async def test_a_changed_log_is_found_out(db: Database, owner: Connection) -> None:
    run = await working(db)
    assert await db.store.verify(run.id) is None
    await owner.execute("ALTER TABLE events DISABLE TRIGGER events_only_grow")
    change = "UPDATE events SET data = replace(data::text, $1, $2)::json WHERE seq = 2"
    await owner.execute(change, "w1", "w9")
    assert await db.store.verify(run.id) == 2
    await owner.execute(change, "w9", "w1")
    assert await db.store.verify(run.id) is None
    await owner.execute("DELETE FROM events WHERE seq = 3")
    assert await db.store.verify(run.id) == 3


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET actor = 'nobody'",
        "DELETE FROM events",
        "TRUNCATE events",
        "UPDATE bodies SET size = 0",
        "DELETE FROM bodies",
        "DELETE FROM runs",
        "CREATE TABLE mine (id int)",
        "ALTER TABLE events DISABLE TRIGGER ALL",
    ],
)
async def test_the_service_may_not(db: Database, statement: str) -> None:
    await claimed(db)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await db.pool.execute(statement)


async def test_not_even_the_owner_changes_the_log_by_accident(
    db: Database, owner: Connection
) -> None:
    await claimed(db)
    for statement in ("UPDATE events SET actor = ''", "TRUNCATE events", "DELETE FROM bodies"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only grows"):
            await owner.execute(statement)


async def test_a_queued_run_is_stopped_at_once(db: Database) -> None:
    run = await started(db)
    stopped = await db.store.ask_stop(run.id, STOP, actor="U1")
    assert stopped.status is RunStatus.CANCELLED
    state = fold(await db.store.events(run.id))
    assert state.stop == STOP
    assert state.end == RunEnded(status=RunStatus.CANCELLED, reason="Stopped by @Ann.")
    assert await db.store.claim(run.id, "w1") is None
    assert await db.store.ask_stop(run.id, STOP, actor="U1") == stopped


async def test_a_working_run_learns_of_a_stop_while_it_waits(db: Database) -> None:
    run = await working(db)
    other = await started(db)
    waits = asyncio.create_task(db.store.stop_asked(run.id))
    await db.store.ask_stop(other.id, STOP, actor="U1")
    await asyncio.sleep(0.05)
    assert not waits.done()
    asked = await db.store.ask_stop(run.id, STOP, actor="U1")
    async with asyncio.timeout(0.5):
        await waits
    assert (asked.status, asked.cancel) == (RunStatus.WORKING, True)
    async with asyncio.timeout(0.5):  # asked before the call
        await db.store.stop_asked(run.id)


async def test_who_takes_a_stopped_run_over_ends_it(db: Database) -> None:
    run = await working(db)
    await db.store.ask_stop(run.id, STOP, actor="U1")
    assert await db.store.claim(run.id, "w2") is None
    assert (await db.store.run(run.id)).status is RunStatus.CANCELLED
    with pytest.raises(Fenced):
        await db.store.write(run.id, Write(payloads=()), actor="worker", epoch=run.epoch)


async def test_a_stopped_run_can_be_asked_for_more(db: Database) -> None:
    run = await started(db)
    await db.store.ask_stop(run.id, STOP, actor="U1")
    again = await db.store.write(
        run.id, Write(payloads=(), status=RunStatus.QUEUED, wake=True), actor="U1"
    )
    assert not again.cancel
    mine = await db.store.claim(run.id, "w1")
    assert mine is not None


async def test_intents_are_kept_in_order_and_settled_once(db: Database) -> None:
    run = await working(db)
    push = Push(commit=CommitSha("c" * 40))
    note = LinkBack(target="issue", iid=7)
    write = Write(payloads=(), status=RunStatus.PUBLISHING, intents=(push, note))
    await db.store.write(run.id, write, actor="worker", epoch=run.epoch)
    assert await db.store.pending_intents(run.id) == [
        (push.key(run.id), push),
        (note.key(run.id), note),
    ]
    assert f"effects:{run.id}:2" in await jobs(db)
    done = EffectDone(key=push.key(run.id), effect=EffectKind.PUSH, result="pushed ccccccc")
    for _ in range(2):
        await db.store.settle(run.id, done.key, done, wake=True)
    log = [event.payload for event in await db.store.events(run.id)]
    assert log.count(done) == 1
    assert [key for key, _ in await db.store.pending_intents(run.id)] == [note.key(run.id)]
    assert (await jobs(db)).count(f"run:{run.id}:3") == 1


class LosesTheFirstAnswer:
    """A pool whose first transaction is committed, but nobody is told."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.fetch = pool.fetch
        self.lost = False

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        async with self._pool.acquire() as connection:
            yield connection
        if not self.lost:
            self.lost = True
            raise ConnectionResetError("the server went away")


async def test_a_write_whose_answer_was_lost_is_not_written_twice(db: Database) -> None:
    run = await working(db)
    pool = LosesTheFirstAnswer(db.pool)
    store = PostgresStore(cast(Pool, pool), db.listener)
    question = QuestionAsked(question="Which one?")
    write = Write(payloads=(question,), status=RunStatus.WAITING_FOR_ANSWER)
    run = await store.write(
        run.id, write, actor="worker", epoch=run.epoch, expect={RunStatus.WORKING}
    )
    assert pool.lost
    assert run.status is RunStatus.WAITING_FOR_ANSWER
    log = [event.payload for event in await db.store.events(run.id)]
    assert log.count(question) == 1
    assert await db.store.verify(run.id) is None

    pool.lost = False
    journal = await Journal.load(store, run)
    await journal.move(RunStatus.WORKING)
    assert pool.lost
    assert journal.events == list(await db.store.events(run.id))


async def test_a_worker_that_appends_knows_its_log_without_reading_it(db: Database) -> None:
    run = await working(db)
    seen = list(await db.store.events(run.id))
    odd = InstructionGiven(by=ANN, text="caf\udce9 \x00")
    moved = Write(payloads=(odd, STOP), status=RunStatus.TESTING)
    row, added = await db.store.append(run.id, moved, actor="worker", epoch=run.epoch)
    assert row.status is RunStatus.TESTING
    assert len(added) == 3
    assert [*seen, *added] == list(await db.store.events(run.id))


async def test_a_journal_takes_in_what_others_have_written_before_it(db: Database) -> None:
    run = await working(db)
    journal = await Journal.load(db.store, run)
    await db.store.write(run.id, Write(payloads=(STOP,)), actor="U1")
    await journal.write(StatusChanged(status=RunStatus.TESTING))
    await journal.write(StatusChanged(status=RunStatus.WORKING))
    log = list(await db.store.events(run.id))
    assert journal.events == log
    assert journal.state == fold(log)


async def test_the_fleet_takes_no_more_than_it_may(db: Database) -> None:
    store = PostgresStore(db.pool, Listener(db.dsn), fleet=2)
    runs = [await started(db) for _ in range(4)]
    results = await asyncio.gather(
        *(store.claim(run.id, "w") for run in runs), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, Unavailable)]
    assert len(refused) == 2
    assert refused[0].retry_after


async def test_a_run_that_took_the_last_place_itself_is_not_told_to_wait(db: Database) -> None:
    store = PostgresStore(db.pool, Listener(db.dsn), fleet=1)
    mine, other = await claimed(db), await started(db)
    assert await store.free_places() == 0
    assert await store.free_places(besides=mine.id) == 1
    assert await store.free_places(besides=other.id) == 0


async def test_a_run_that_is_told_what_it_waits_for_stays_with_who_has_claimed_it(
    db: Database,
) -> None:
    run = await claimed(db)
    told = Write(payloads=(StatusChanged(status=RunStatus.QUEUED, reason="No place is free."),))
    await db.store.write(run.id, told, actor="service", expect={RunStatus.QUEUED})
    await Journal(db.store, run, await db.store.events(run.id)).move(RunStatus.PLANNING)
    stopping = await db.store.ask_stop(run.id, STOP, actor="U1")
    assert (stopping.status, stopping.cancel) == (RunStatus.PLANNING, True)  # its worker ends it
    assert await PostgresStore(db.pool, Listener(db.dsn), fleet=1).free_places() == 0


@pytest.mark.cell("F32", "W")
async def test_a_run_of_a_newer_version_waits_for_a_worker_of_that_version(db: Database) -> None:
    newer = PostgresStore(db.pool, db.listener, code=CODE + 1)
    run, _ = await newer.create("newer", asked(), Limits())
    with pytest.raises(Unavailable, match="needs a newer worker") as refused:
        await db.store.claim(run.id, "w1")
    assert refused.value.retry_after  # it is asked for again
    assert (await db.store.run(run.id)).status is RunStatus.QUEUED
    with pytest.raises(Unavailable, match="needs a newer worker"):
        await db.store.claim(run.id, "w1")
    (told,) = [e.payload for e in await db.store.events(run.id)][1:]  # people are, once
    assert isinstance(told, StatusChanged)
    assert told.status is RunStatus.QUEUED
    assert "waits for a worker of that version" in told.reason
    assert await db.store.verify(run.id) is None
    assert await newer.claim(run.id, "w2")
    assert await newer.claim((await started(db)).id, "w2")  # and older ones it takes as well


async def test_people_are_told_once_of_a_newer_version_while_it_puts_the_run_off(
    db: Database,
) -> None:
    newer = PostgresStore(db.pool, db.listener, code=CODE + 1)
    run, _ = await newer.create("newer", asked(), Limits())
    off = StatusChanged(status=RunStatus.QUEUED, put_off=RunStatus.PLANNING)
    for _ in range(3):
        with pytest.raises(Unavailable, match="needs a newer worker"):
            await db.store.claim(run.id, "w1")
        mine = await newer.claim(run.id, "w2")
        assert mine is not None
        await newer.write(
            run.id, Write(payloads=(off,), wake=True), actor="worker", epoch=mine.epoch
        )
    log = [event.payload for event in await db.store.events(run.id)]
    told = [each for each in log if isinstance(each, StatusChanged) and not each.put_off]
    assert len(told) == 1


@pytest.mark.cell("F32", "W")
async def test_what_a_newer_version_has_gone_on_with_is_left_to_it(db: Database) -> None:
    newer = PostgresStore(db.pool, db.listener, code=CODE + 1)
    run = await working(db)
    mine = await newer.claim(run.id, "w2")
    assert mine is not None
    with pytest.raises(Unavailable, match="needs a newer worker"):
        await db.store.claim(run.id, "w1")
    push = Push(commit=CommitSha("c" * 40))
    write = Write(payloads=(), status=RunStatus.PUBLISHING, intents=(push,))
    await newer.write(run.id, write, actor="worker", epoch=mine.epoch)
    with pytest.raises(Unavailable, match="needs a newer worker") as refused:
        await db.store.pending_intents(run.id)
    assert refused.value.retry_after  # it is asked for again
    assert await newer.pending_intents(run.id) == [(push.key(run.id), push)]
    older = PostgresStore(db.pool, db.listener, code=CODE)
    await newer.settle(run.id, push.key(run.id), STOP, wake=True)
    assert await older.pending_intents(run.id) == []  # what it does not know, it need not do


async def test_an_intent_of_an_unknown_kind_waits_for_who_knows_it(
    db: Database, owner: Connection
) -> None:
    run = await working(db)
    push = Push(commit=CommitSha("c" * 40))
    write = Write(payloads=(), status=RunStatus.PUBLISHING, intents=(push,))
    await db.store.write(run.id, write, actor="worker", epoch=run.epoch)
    await owner.execute("UPDATE intents SET kind = 'teleport'")
    with pytest.raises(Unavailable, match="needs a newer worker"):
        await db.store.pending_intents(run.id)


async def test_a_parked_run_takes_no_place_and_is_stopped_at_once(db: Database) -> None:
    store = PostgresStore(db.pool, Listener(db.dsn), fleet=1)
    run, other = await claimed(db), await started(db)
    park = Write(payloads=(), status=RunStatus.WATCHING, wake=True, wake_after=15.0)
    await store.write(run.id, park, actor="worker", epoch=run.epoch)
    assert await store.claim(other.id, "w1")
    assert await store.claim(run.id, "w1")  # to look it needs no place
    with pytest.raises(Fenced):
        await store.write(run.id, park, actor="worker", epoch=run.epoch)
    looked = await store.run(run.id)
    await store.write(run.id, park, actor="worker", epoch=looked.epoch)
    stopped = await store.ask_stop(run.id, STOP, actor="U1")
    assert stopped.status is RunStatus.CANCELLED
    assert await store.verify(run.id) is None


async def test_changes_tell_of_every_current_run_first_and_then_of_each_growth(
    db: Database,
) -> None:
    old, other = await started(db), await working(db)
    async with db.store.changes() as changes:
        assert {await anext(changes), await anext(changes)} == {old.id, other.id}
        new = await started(db)
        async with asyncio.timeout(1):
            assert await anext(changes) == new.id
        given = InstructionGiven(text="also a test", by=ANN, message="2.0")
        await db.store.write(old.id, Write(payloads=(given,)), actor="U1")
        async with asyncio.timeout(1):
            assert await anext(changes) == old.id


async def test_runs_are_found_by_thread_status_and_project(db: Database) -> None:
    first = await started(db)
    second = await started(db, project="shop/web")
    newest = await db.store.run_of_thread("T1", "C1", "1.0")
    assert newest is not None
    assert newest.id == second.id
    assert await db.store.run_of_thread("T1", "C1", "9.9") is None
    found = await db.store.runs(statuses={RunStatus.QUEUED}, project="shop/api")
    assert [run.id for run in found] == [first.id]
    assert [run.id for run in await db.store.runs(limit=1)] == [second.id]
    with pytest.raises(NotFound):
        await db.store.run(RunId(999))


async def test_branches_carry_the_mark_of_their_database_for_life(
    db: Database, owner: Connection
) -> None:
    """Also those of runs from before there was one."""
    old, _ = await db.store.create("old", asked(), Limits())
    await owner.execute("UPDATE installation SET mark = 'a1b2'")
    run, _ = await db.store.create("new", asked(), Limits())
    await owner.execute("UPDATE installation SET mark = 'c3d4'")
    assert (await db.store.run(old.id)).branch == f"agent/{old.id}"
    assert run.branch == (await db.store.run(run.id)).branch == f"agent/{run.id}-a1b2"
    assert fold(await db.store.events(run.id)).branch == run.branch


async def test_a_new_database_marks_its_branches_by_itself(
    postgres_server: EmbeddedPostgres, owner: Connection
) -> None:
    await owner.execute("CREATE DATABASE fresh")
    url = postgres_server.dsn(ADMIN, "fresh")
    await migrate(url, APP)
    connection = await connect(url)
    mark = await connection.fetchval("SELECT mark FROM installation")
    await migrate(url, APP)
    assert await connection.fetchval("SELECT mark FROM installation") == mark
    await connection.close()
    await owner.execute("DROP DATABASE fresh")
    assert re.fullmatch("[0-9a-f]{4}", mark)


async def test_facts_of_a_newer_version_are_passed_over(db: Database) -> None:
    run = await started(db)
    await db.pool.execute(
        "INSERT INTO events (run, seq, kind, actor, data, hash) VALUES ($1, 2, 'moon_seen',"
        " 'worker', '{}', 'x'), ($1, 3, 'status_changed', 'worker',"
        ' \'{"status": "working", "mood": "good"}\', \'y\')',
        run.id,
    )
    log = await db.store.events(run.id)
    assert [event.seq for event in log] == [1, 3]
    assert log[-1].payload == StatusChanged(status=RunStatus.WORKING)


async def test_a_delivery_is_accepted_once_and_dispatched_again_until_handled(
    db: Database,
) -> None:
    ids = await asyncio.gather(
        *(db.inbox.accept("slack", "Ev1", {"text": "a\x00b"}) for _ in range(4))
    )
    (mine,) = [id for id in ids if id]
    assert await db.inbox.accept("gitlab", "Ev1", {})
    await db.inbox.failed(mine, "The store was away.")
    await asyncio.sleep(0.01)
    waiting = await db.inbox.unhandled(timedelta(milliseconds=5))
    assert [(each.source, each.payload) for each in waiting] == [
        ("slack", {"text": "a\x00b"}),
        ("gitlab", {}),
    ]
    assert await db.inbox.unhandled(timedelta(seconds=5)) == []
    for each in waiting:
        await db.inbox.handled(each.id)
    assert await db.inbox.unhandled(timedelta(0)) == []
    await db.inbox.prune(timedelta(0))
    assert await db.pool.fetchval("SELECT count(*) FROM inbox") == 0


async def test_a_delivery_outlives_any_outage_but_not_five_deaths(db: Database) -> None:
    mine = await db.inbox.accept("slack", "Ev1", {})
    assert mine
    for _ in range(12):
        (again,) = await db.inbox.unhandled(timedelta(0))
        await db.inbox.begun(again.id, again.tried_at)
        await db.inbox.failed(again.id, "GitLab is away.")
    for _ in range(5):
        (again,) = await db.inbox.unhandled(timedelta(0))
        await db.inbox.begun(again.id, again.tried_at)
    assert not await db.inbox.unhandled(timedelta(0))


async def test_a_thread_remembers_its_messages_and_never_goes_back(db: Database) -> None:
    run = await started(db)
    threads = db.threads
    card = await threads.intend(run.id, "card", channel="C1", version=3, fingerprint="f3")
    assert card is not None
    assert (card.ts, card.state) == ("", "intended")
    await threads.posted(run.id, "card", ts="5.0", version=3)
    assert await threads.intend(run.id, "card", channel="C1", version=2, fingerprint="f2") is None
    stands = (await threads.slots(run.id))["card"]
    assert (stands.ts, stands.version, stands.fingerprint) == ("5.0", 3, "f3")
    assert stands.state == "posted"
    edited = await threads.intend(run.id, "card", channel="C1", version=4, fingerprint="f4")
    assert edited is not None
    assert (edited.ts, edited.state) == ("5.0", "intended")
    assert await threads.under_way() == {run.id: {"card"}}
    await threads.posted(run.id, "card", ts="7.0", version=3)  # of who was replaced meanwhile
    assert (await threads.slots(run.id))["card"].ts == "5.0"
    await threads.posted(run.id, "card", ts="5.0", version=4)
    assert await threads.under_way() == {}
