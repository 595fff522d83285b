"""A PostgreSQL that answers, and says no: it ends nothing, and people are told what it is."""

from __future__ import annotations

import pytest
from refusing import DEADLOCK, DISK_FULL, READ_ONLY, SERIALIZATION, TOO_MANY, refusing

import agent.adapters.postgres_retry
from agent.adapters.database import Database
from agent.errors import StoreUnavailable
from agent.events import QuestionAsked
from agent.ports import Write
from agent.run import Limits, Person, Request, Run, RunStatus, Thread

THREAD = Thread(team="T1", channel="C1", ts="1.0")
ASKED = Request(
    text="add an export",
    project="shop/api",
    base_branch=None,
    requester=Person(id="U1", name="Ann"),
    thread=THREAD,
    message=THREAD.ts,
)
QUESTION = QuestionAsked(question="Which one?")


async def working(db: Database) -> Run:
    run, _ = await db.store.create("key", ASKED, Limits())
    claimed = await db.store.claim(run.id, "w1")
    assert claimed is not None
    return claimed


async def asks(db: Database, run: Run) -> Run:
    write = Write(payloads=(QUESTION,), status=RunStatus.PLANNING)
    return await db.store.write(run.id, write, actor="worker", epoch=run.epoch)


async def logged(db: Database, run: Run) -> int:
    return [event.payload for event in await db.store.events(run.id)].count(QUESTION)


@pytest.mark.parametrize("state", [SERIALIZATION, DEADLOCK])
async def test_a_transaction_that_postgresql_gave_up_is_done_again_once(
    db: Database, admin_url: str, state: str
):
    run = await working(db)
    async with refusing(admin_url, "events", state, which="<= 3") as tried:
        await asks(db, run)
        assert await tried() > 3
    assert await logged(db, run) == 1
    assert await db.store.verify(run.id) is None


async def test_whoever_is_always_in_the_way_is_not_fought_for_ever(db: Database, admin_url: str):
    run = await working(db)
    async with refusing(admin_url, "events", DEADLOCK, which="> 0") as tried:
        with pytest.raises(StoreUnavailable, match="again by itself"):
            await asks(db, run)
        assert await tried() == 4  # and three times more
    assert await logged(db, run) == 0


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (DISK_FULL, "PostgreSQL has no room left"),
        (READ_ONLY, "PostgreSQL takes no changes at present"),
        (TOO_MANY, "PostgreSQL has no connection left"),
    ],
)
async def test_a_server_that_has_nothing_left_is_waited_for_and_named(
    db: Database, admin_url: str, state: str, sentence: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(agent.adapters.postgres_retry, "_PATIENCE", 0.2)
    run = await working(db)
    async with refusing(admin_url, "events", state, which="> 0", told="by a test"):
        with pytest.raises(StoreUnavailable) as refused:
            await asks(db, run)
    told = str(refused.value)
    assert told.startswith(sentence)
    assert "(by a test)" in told
    assert "is kept" in told
    assert refused.value.retry_after
    await asks(db, run)
    assert await logged(db, run) == 1
